#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Loads FILE in KCachegrind on a display and session bus of its own and prints what it shows, read
# through the accessibility bus: the total, and "Incl. | Self | Called | Function | Location".
#
#     kcachegrind_dump.sh FILE
file=$(readlink -f "$1")
here=$(dirname "$(readlink -f "$0")")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 700 "$scratch"
mkdir "$scratch/config"
printf '[TipOfDay]\nRunOnStart=false\n' >"$scratch/config/kcachegrindrc"
cat >"$scratch/session.sh" <<'SESSION'
/usr/libexec/at-spi-bus-launcher --launch-immediately >/dev/null 2>&1 &
launcher=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
	dbus-send --session --dest=org.a11y.Bus --print-reply /org/a11y/bus \
		org.a11y.Bus.GetAddress >/dev/null 2>&1 && break
	sleep 0.3
done
dbus-send --session --dest=org.a11y.Bus --print-reply /org/a11y/bus \
	org.freedesktop.DBus.Properties.Set string:org.a11y.Status string:IsEnabled \
	variant:boolean:true >/dev/null 2>&1
# The registry has to be there before the program.
/usr/bin/python3 -c 'import pyatspi; pyatspi.Registry.getDesktop(0).childCount' 2>/dev/null
kcachegrind "$1" >/dev/null 2>&1 &
program=$!
timeout 60 /usr/bin/python3 "$2/kcachegrind_dump.py"
status=$?
kill "$program" "$launcher" 2>/dev/null
exit "$status"
SESSION
# Qt's bridge loses a race at the start about every second time: then the program is not listed.
for _ in 1 2 3 4 5 6 7 8 9 10; do
	rm -rf "$scratch/at-spi"
	if HOME=$scratch XDG_RUNTIME_DIR=$scratch XDG_CONFIG_HOME=$scratch/config LANG=C.UTF-8 \
		xvfb-run -a dbus-run-session -- sh "$scratch/session.sh" "$file" "$here" \
		>"$scratch/dump" 2>"$scratch/err"; then
		cat "$scratch/dump"
		exit 0
	fi
done
cat "$scratch/dump"
exit 1
