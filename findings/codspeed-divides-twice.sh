#!/usr/bin/env bash
# pytest-codspeed 5.0.4: the table's best time is divided by the iterations of a round twice.
#
# Expected: "Time (best)" is the time of one call, as the result file's min_ns is.
# Happens: min_ns is the time of one call already; the table divides it by iter_per_round again.
#   A call of 2 ms reads 2 ms, because a round is one call; a call of 2 us reads 4 ns or so, because
#   a round of 1 ms is about 500 calls. Each call shorter than a round is wrong by another factor,
#   which depends on the warm-up of the run.
# Hurts: who reads the table, or compares two runs by it: the same call reads differently wherever
#   the warm-up asked for another number of calls a round. The file is right.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages pytest==9.2.0 pytest-codspeed==5.0.4

cat >"$work/test_times.py" <<'PY'
from time import perf_counter_ns


def spin(nanoseconds):
    end = perf_counter_ns() + nanoseconds
    while perf_counter_ns() < end:
        pass


def test_2us(benchmark):
    benchmark(spin, 2_000)


def test_2ms(benchmark):
    benchmark(spin, 2_000_000)
PY
cat >"$work/told.py" <<'PY'
import json, re, sys

table, (file,) = open(sys.argv[1]).read(), sys.argv[2:]
units = {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}
for one in json.load(open(file))["benchmarks"]:
    shown, unit = re.search(one["name"] + r"\s*│\s*([\d.,]+)(ns|µs|ms|s)", table).groups()
    stats = one["stats"]
    best = float(shown.replace(",", "")) * units[unit]
    as_file = abs(best / stats["min_ns"] - 1) < 0.2  # the table rounds to whole ns
    again = abs(best * stats["iter_per_round"] / stats["min_ns"] - 1) < 0.2
    print("as in the file" if as_file else "divided again" if again else f"{shown} {unit}")
PY
cd "$work"
COLUMNS=120 CODSPEED_PROFILE_FOLDER=$work/out \
    python -m pytest -q --codspeed --codspeed-mode walltime test_times.py >"$work/table"
python "$work/told.py" "$work/table" "$work"/out/results/*.json >"$work/seen"
expect "best time of a call of 2 us" "as in the file" "divided again" "$(sed -n 1p "$work/seen")"
expect "best time of a call of 2 ms" "as in the file" "as in the file" "$(sed -n 2p "$work/seen")"
