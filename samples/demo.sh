#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What "make demo" runs after the build: records demo.py, prints the report, writes every export.
#
#     samples/demo.sh BUILD OUT
set -eu

build=$1
out=$2
samples=$(dirname "$0")

mkdir -p "$out"
say() {
	echo
	echo "\$ $*"
	"$@"
}
say "$build/scprof-record" -o "$out/demo.trace" -- python3 "$samples/demo.py"
say "$build/scprof-analyze" "$out/demo.trace"
say "$build/scprof-analyze" --memory --copies --timeline "$out/demo.trace"
if command -v gnuplot >/dev/null; then
	say "$build/scprof-analyze" --plot memory -o "$out/demo-memory.svg" "$out/demo.trace"
fi
say "$build/scprof-analyze" --format json -o "$out/demo.json" "$out/demo.trace"
say "$build/scprof-convert" "$out/demo.trace" -o "$out/demo.svg"
say "$build/scprof-convert" "$out/demo.trace" -o "$out/demo.speedscope.json"
say "$build/scprof-convert" "$out/demo.trace" -o "$out/demo.trace.json"
say "$build/scprof-convert" "$out/demo.trace" -o "$out/demo.pstats"
say "$build/scprof-convert" "$out/demo.trace" -o "$out/demo.pb.gz"
say "$build/scprof-convert" "$out/demo.trace" -o "$out/massif.out.demo"
say "$build/scprof-convert" --metric peak "$out/demo.trace" -o "$out/demo-peak.svg"
say "$build/scprof-convert" "$out/demo.trace" -o "$out/callgrind.out.demo"
say "$build/scprof-convert" --to collapsed "$out/demo.trace" -o "$out/demo.collapsed"
echo
echo "The trace and its exports are in $out/:"
ls -l "$out"
echo
echo 'Open demo.svg and demo-peak.svg in a browser, demo.speedscope.json in speedscope,'
echo 'demo.trace.json in ui.perfetto.dev, demo.pstats with "python3 -m pstats",'
echo 'callgrind.out.demo in KCachegrind, massif.out.demo in massif-visualizer.'
