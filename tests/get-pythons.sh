#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Fetches the CPython versions that this Debian release lacks from Debian's unstable release, unpacks
# them into a folder without installing anything, and makes them run with the C library that they
# were built for. The tests use them through $SCPROF_PYTHONS.
#
#     tests/get-pythons.sh DIR [PACKAGE...]     default: python3.14 python3.15
#
# Prints the paths of the interpreters, one a line. The mirror is the one that apt is set up with.
set -eu

folder=$1
shift
[ $# -gt 0 ] || set -- python3.14 python3.15

fail() {
	echo "get-pythons: $*" >&2
	exit 1
}

list() {
	for package in "$@"; do
		[ ! -x "$folder/usr/bin/$package" ] || echo "$folder/usr/bin/$package"
	done
}

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
if [ "$(list "$@" | wc -l)" = $# ]; then
	list "$@"
	exit 0
fi

command -v apt-get >/dev/null || fail 'this is not Debian'
mirror=$(sed -n 's/^URIs: *\([^ ]*debian\)\/* *$/\1/p; s/^deb \(\[.*\] \)*\([^ ]*debian\)\/* .*/\2/p' \
	/etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources \
	2>/dev/null | head -n 1)
[ -n "$mirror" ] || fail 'apt is not set up with a Debian mirror'
if ! command -v patchelf >/dev/null; then
	DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends patchelf \
		>/dev/null 2>&1 || fail 'cannot install patchelf'
fi

# A package list of its own, so that the machine's stays as it is.
state=$folder/apt
mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/packages"
: >"$state/status"
key=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$key] $mirror sid main" >"$state/sources.list"
cat >"$state/apt.conf" <<END
Dir::State::lists "$state/lists";
Dir::State::status "$state/status";
Dir::Cache "$state/cache";
Dir::Etc::sourcelist "$state/sources.list";
Dir::Etc::sourceparts "/dev/null";
APT::Sandbox::User "root";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Languages "none";
END
export APT_CONFIG="$state/apt.conf"
apt-get -q update >"$state/log" 2>&1 || fail "cannot read the package list of $mirror"

# Each interpreter with all that it depends on, without tools of the package manager.
names=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
	--no-replaces --no-enhances "$@" | grep '^[a-z]' | sort -u |
	grep -v -E '^(debconf|cdebconf|perl|dpkg|install-info|netbase|media-types|tzdata)')
tests=$(for package in "$@"; do echo "lib$package-testsuite"; done)
(cd "$state/packages" && apt-get -q download $names $tests >>"$state/log" 2>&1) ||
	fail "cannot download $*"
for package in "$state/packages"/*.deb; do
	dpkg-deb -x "$package" "$folder"
done
rm -rf "$state"

loader=$(find "$folder/usr" -name 'ld-linux*.so.*' | head -n 1)
libraries=$(dirname "$(find "$folder/usr" -name 'libc.so.6' | head -n 1)")
for package in "$@"; do
	# An old style of search path: it also holds for what the program's libraries need.
	patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$libraries" \
		"$folder/usr/bin/$package"
	"$folder/usr/bin/$package" -c 'import ssl, ctypes, sqlite3' || fail "$package does not run"
done
list "$@"
