#!/usr/bin/env bash
# pytest-benchmark 5.3.1: of several --benchmark-compare-fail options only the last one counts.
#
# Expected: --benchmark-compare-fail=min:5% --benchmark-compare-fail=mean:500% fails where one of
#   the two is exceeded; the option's help says that it "can be used multiple times".
# Happens: the option takes one or more values and each further option replaces those before it.
#   min:5% is dropped without a word, and a call that became twice as slow passes. Several values
#   after one option (--benchmark-compare-fail min:5% mean:500%) are all kept.
# Hurts: a gate in CI that was given a second, looser check: the first one never fails again.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages pytest==9.2.0 pytest-benchmark==5.3.1

cat >"$work/test_spin.py" <<'PY'
import os
from time import perf_counter_ns


def spin(nanoseconds):
    end = perf_counter_ns() + nanoseconds
    while perf_counter_ns() < end:
        pass


def test_spin(benchmark):
    benchmark(spin, int(os.environ["NANOSECONDS"]))
PY
cd "$work"
run() {
    if python -m pytest -q --benchmark-storage="file://$work/kept" test_spin.py "$@" \
        >"$work/out" 2>&1; then
        echo passes
    elif grep -q "Performance has regressed" "$work/out"; then
        echo fails
    else
        not_run "pytest: $(tail -n 1 "$work/out")"
    fi
}
NANOSECONDS=200000 run --benchmark-save=base >/dev/null
export NANOSECONDS=400000
expect "twice as slow, one option: min:5%" fails fails \
    "$(run --benchmark-compare --benchmark-compare-fail=min:5%)"
expect "twice as slow, two options: min:5%, then mean:500%" fails passes \
    "$(run --benchmark-compare --benchmark-compare-fail=min:5% --benchmark-compare-fail=mean:500%)"
expect "twice as slow, one option with both values" fails fails \
    "$(run --benchmark-compare --benchmark-compare-fail min:5% mean:500%)"
