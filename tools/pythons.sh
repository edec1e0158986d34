#!/bin/sh
# Print every Python from 3.11 up that this machine has, one of each version, the highest first.
for candidate in python3 python3.11 python3.12 python3.13 python3.14 "$HOME"/.pyenv/versions/*/bin/python3; do
    path=$(command -v "$candidate" 2>/dev/null) || continue
    "$path" -c '
import sys
if (3, 11) <= sys.version_info[:2] <= (3, 14):
    import ensurepip, venv
    print("%02d %s" % (sys.version_info[1], sys.executable))
' 2>/dev/null
done | sort -r | awk '!seen[$1]++ { print $2 }'
