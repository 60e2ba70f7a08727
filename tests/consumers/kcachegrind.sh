#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Opens FILE in KCachegrind on a display of its own and prints the loader's complaints. Status: 0
# loaded without one, 1 complained or not loaded, 2 the program died.
#
#     kcachegrind.sh FILE [PNG]
file=$(readlink -f "$1")
png=${2:-}
seconds=60
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 700 "$scratch"
mkdir "$scratch/config"
printf '[TipOfDay]\nRunOnStart=false\n' >"$scratch/config/kcachegrindrc"
export HOME=$scratch XDG_RUNTIME_DIR=$scratch XDG_CONFIG_HOME=$scratch/config LANG=C.UTF-8
export XDG_CACHE_HOME=$scratch/cache QT_QPA_PLATFORM=xcb
export QT_LOGGING_RULES='*.debug=true;qt.*=false;kf.*=false' QT_MESSAGE_PATTERN='%{type}: %{message}'

mkfifo "$scratch/display"
Xvfb -displayfd 3 -screen 0 1400x900x24 -nolisten tcp >"$scratch/xvfb" 2>&1 3>"$scratch/display" &
server=$!
read -r number <"$scratch/display"
export DISPLAY=:$number
dbus-run-session -- kcachegrind "$file" >"$scratch/out" 2>"$scratch/err" &
program=$!

# The title holds the file's name once it is loaded.
title=
for _ in $(seq $((seconds * 5))); do
	window=$(xdotool search --onlyvisible --class kcachegrind 2>"$scratch/x" | head -1)
	[ -n "$window" ] && title=$(xdotool getwindowname "$window" 2>"$scratch/x")
	case $title in *"$(basename "$file")"*) break ;; esac
	kill -0 "$program" 2>"$scratch/x" || break
	sleep 0.2
done
status=0
case $title in *"$(basename "$file")"*) ;; *) status=1 ;; esac
if [ -n "$png" ] && [ "$status" = 0 ]; then
	xdotool windowmove "$window" 0 0 windowsize "$window" 1390 890
	sleep 1.5
	import -window root "$png" 2>"$scratch/x"
fi
kill -0 "$program" 2>"$scratch/x" || status=2
pids=$(pgrep -P "$program")
# shellcheck disable=SC2086
[ -n "$pids" ] && kill $pids 2>"$scratch/x"
kill "$program" 2>"$scratch/x"
wait "$program" 2>"$scratch/x"
kill "$server"
wait "$server" 2>"$scratch/x"
if grep -E '^(critical|warning): Loading' "$scratch/err"; then
	[ "$status" = 2 ] || status=1
fi
echo "title: $title"
exit "$status"
