#!/bin/sh
# The main job on the user's own logs; on generated demo data, in a place of its own, where there are none.
set -eu
cclake=$1
cache=$2
logs=${CLAUDE_CONFIG_DIR:-$HOME/.claude}/projects
if [ -n "$(find -L "$logs" -name '*.jsonl' -type f 2>/dev/null | head -n 1)" ]; then
  exec "$cclake" run
fi
echo "No Claude Code logs in $logs: generating demo data in $cache/demo."
"$cclake" demo --out "$cache/demo" --quiet
"$cclake" run --path "$cache/demo/projects" --data-dir "$cache/demo/data"
