#!/bin/sh
# Some lives, and their changes of state against the model: edges.sh PYTHON SIMULATOR model.py
edges=$(mktemp) || exit 1
trap 'rm -f "$edges"' EXIT
"$2" --count 5000 --edges "$edges" && "$1" -B "$3" edges "$edges"
