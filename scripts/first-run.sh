#!/bin/sh
# The main job on the user's own logs; on generated demo data, in a place of its own, where there are none.
set -eu
cclake=$1
cache=$2
logs=${CLAUDE_CONFIG_DIR:-$HOME/.claude}/projects
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
