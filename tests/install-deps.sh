#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian or Ubuntu packages that a task needs, and only those that are not there yet;
# fetches nothing when nothing is missing. Asks no questions; uses sudo when not root.
#
#     tests/install-deps.sh build     what "make" and "make demo" need
#     tests/install-deps.sh test      and what "make test" needs
#     tests/install-deps.sh ci        and the second compiler, the linters, the cross compiler,
#                                     other allocators
set -eu

task=${1:-build}
case $task in
build | test | ci) ;;
*)
	echo "usage: $0 build|test|ci" >&2
	exit 2
	;;
esac

missing=

# need PACKAGE COMMAND...: the package is missing when the command fails.
need() {
	package=$1
	shift
	"$@" >/dev/null 2>&1 || missing="$missing $package"
}

installed() {
	dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q ' installed$'
}

has_library() {
	ls /usr/lib/*/"$1"
}

has_pytest() {
	python3 -c 'import pytest' || /usr/bin/python3 -c 'import pytest'
}

need gcc command -v "${CC:-gcc}"
need libc6-dev test -e /usr/include/stdio.h
need make command -v make
need pkg-config command -v "${PKG_CONFIG:-pkg-config}"
need protobuf-c-compiler command -v "${PROTOC_C:-protoc-c}"
need libzstd-dev pkg-config --exists libzstd
need libprotobuf-c-dev pkg-config --exists libprotobuf-c
need libcjson-dev pkg-config --exists libcjson
need zlib1g-dev pkg-config --exists zlib
need libncurses-dev pkg-config --exists ncursesw
need gnuplot-nox command -v gnuplot
need python3 command -v python3

if [ "$task" != build ]; then
	need check pkg-config --exists check
	need python3-pytest has_pytest
	need zstd command -v zstd
	# numpy and greenlet for the system's own Python; others are served from build/site by pip.
	need python3-minimal test -x /usr/bin/python3
	need python3-numpy installed python3-numpy
	need python3-greenlet installed python3-greenlet
	need python3-pytest-xdist installed python3-pytest-xdist
	need python3-pip python3 -m pip --version
	need procps command -v ps
	need git command -v git
fi
if [ "$task" = ci ]; then
	need clang command -v clang
	need clang-format command -v clang-format
	need mandoc command -v mandoc
	need patchelf command -v patchelf
	# Programs are recorded with other allocators than the C library's.
	need libjemalloc2 installed libjemalloc2
	need libtcmalloc-minimal4 has_library libtcmalloc_minimal.so.4
	need libmimalloc-dev installed libmimalloc-dev
	case $(uname -m) in
	aarch64) ;;
	*)
		need gcc-aarch64-linux-gnu command -v aarch64-linux-gnu-gcc
		need libc6-dev-arm64-cross test -e /usr/aarch64-linux-gnu/include/stdio.h
		;;
	esac
fi

[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "install-deps: this is not Debian or Ubuntu; install the equivalents of:$missing" >&2
	exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null 2>&1; then
		echo "install-deps: as root, run: apt-get install$missing" >&2
		exit 1
	fi
	sudo='sudo env DEBIAN_FRONTEND=noninteractive'
fi

echo "installing with apt-get:$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Old lists of packages name files that mirrors no longer have, so they are renewed first; a failure
# here matters only when the installation fails as well.
$sudo apt-get -q -o DPkg::Lock::Timeout=600 update >"$log" 2>&1 || true
# shellcheck disable=SC2086
if ! $sudo apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends $missing \
	>>"$log" 2>&1; then
	tail -n 15 "$log" >&2
	echo "install-deps: apt-get could not install$missing (is the package mirror reachable?)" >&2
	exit 1
fi
