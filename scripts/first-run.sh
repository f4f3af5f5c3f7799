#!/bin/sh
# The main job on the user's own logs; on generated demo data, in a place of its own, where there are none.
set -eu
cclake=$1
cache=$2
settings=$("$cclake" config --json)
# A field of the setting `paths`, without the escapes that JSON needs.
of_paths() {
  printf '%s\n' "$settings" | sed -n '/^  "paths": {/,/^  }/s/^    "'"$1"'": "\(.*\)",\{0,1\}$/\1/p' | sed 's/\\\(["\\]\)/\1/g'
}
case $(of_paths origin) in
  default | 'environment CLAUDE_CONFIG_DIR') ;;
  # Whoever says where the logs are wants those, or to hear what is wrong with them.
  *) exec "$cclake" run ;;
esac
logs=$(of_paths value)
if [ -n "$(find -L "$logs" -name '*.jsonl' -type f 2>/dev/null | head -n 1)" ]; then
  exec "$cclake" run
fi
if [ -f "$cache/demo/truth.json" ]; then
  echo "No Claude Code logs in $logs: using the demo data in $cache/demo."
else
  echo "No Claude Code logs in $logs: generating demo data in $cache/demo."
  rm -rf "$cache/demo/projects"
  "$cclake" demo --out "$cache/demo" --quiet
fi
exec "$cclake" run --path "$cache/demo/projects" --data-dir "$cache/demo/data"
