#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs the programs that run.py feeds our exports to: Debian packages for the whole machine, the
# rest below the folder given (default build/consumers). What is there already is left alone.
#
#     tests/consumers/install.sh [FOLDER]
set -eu

folder=${1:-$(dirname "$0")/../../build/consumers}
packages='valgrind kcachegrind xvfb xauth xdotool dbus imagemagick at-spi2-core python3-pyatspi
	gir1.2-atspi-2.0 chromium fonts-dejavu-core libxml2-utils librsvg2-bin nodejs npm python3-venv
	golang-go'

missing=
for package in $packages; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' ||
		missing="$missing $package"
done
case " $missing " in
*' npm '*) # node from elsewhere brings its own npm; Debian's would replace it
	if command -v npm >/dev/null; then
		missing=$(printf '%s\n' $missing | grep -vx -e npm -e nodejs | tr '\n' ' ' || true)
	fi ;;
esac
if command -v go >/dev/null; then
	missing=$(printf '%s\n' $missing | grep -vx golang-go | tr '\n' ' ' || true)
fi
if [ -n "$(printf %s "$missing" | tr -d ' ')" ]; then
	echo "installing:$missing"
	sudo=
	[ "$(id -u)" = 0 ] || sudo=sudo
	export DEBIAN_FRONTEND=noninteractive
	$sudo apt-get -qq -o DPkg::Lock::Timeout=600 update
	# shellcheck disable=SC2086
	$sudo apt-get -qq -o DPkg::Lock::Timeout=600 install --no-install-recommends -y $missing \
		>/dev/null
fi

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

if [ ! -x "$folder/venv/bin/gprof2dot" ] || [ ! -x "$folder/venv/bin/snakeviz" ]; then
	echo 'installing: gprof2dot snakeviz'
	[ -x "$folder/venv/bin/python" ] || python3 -m venv "$folder/venv"
	"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
		gprof2dot==2025.4.14 snakeviz==2.2.2
fi

if [ ! -d "$folder/node/node_modules/speedscope" ] || [ ! -d "$folder/node/node_modules/ajv" ] ||
	[ ! -d "$folder/node/node_modules/playwright-core" ]; then
	echo 'installing: speedscope ajv playwright-core'
	mkdir -p "$folder/node"
	printf '{"private": true}\n' >"$folder/node/package.json"
	(cd "$folder/node" && npm install --silent --no-fund --no-audit --no-progress \
		speedscope@1.25.0 ajv@8 playwright-core@1 >/dev/null)
fi
