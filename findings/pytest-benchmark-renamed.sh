#!/usr/bin/env bash
# pytest-benchmark 5.3.1: a renamed benchmark passes --benchmark-compare-fail, however slow it is.
#
# Expected: a failure, or at least a word. "Fail test if performance regresses" is what the option
#   promises, and a benchmark that the saved run has but this run lacks (or the reverse) was not
#   compared at all. pyperf's compare_to names such benchmarks as ignored.
# Happens: benchmarks are matched by their full name. After a rename, a new parameter id or a move
#   to another file the one that is four times slower has no partner; the table shows it
#   alone, nothing says so, exit code 0.
# Hurts: benchmark maintainers. A refactoring, the very change that a gate is for, often renames the
#   benchmark too, and disarms it for that change. A gate must compare the lists of names itself.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages pytest-benchmark==5.3.1 pytest==9.2.0

# A clock that only the benchmark moves: the same figures on every machine.
cat >"$work/clock.py" <<'PY'
now = 0.0


def read():
    global now
    now += 1e-6
    return now


def work(seconds):
    global now
    now += seconds
PY
run() {
    code=0
    (cd "$work" && PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=. python -m pytest -q -p no:cacheprovider test_it.py \
        --benchmark-timer=clock.read --benchmark-max-time=0.01 "$@") >"$work/log" 2>&1 || code=$?
    echo "exit code $code"
}
benchmark() {
    printf 'import clock\n\n\ndef %s(benchmark):\n    benchmark(clock.work, %s)\n' "$1" "$2" \
        >"$work/test_it.py"
}
gate="--benchmark-compare=0001 --benchmark-compare-fail=mean:5%"

benchmark test_encode 0.001
expect "the run that is saved" "exit code 0" "exit code 0" "$(run --benchmark-save=base)"
benchmark test_encode 0.004
# shellcheck disable=SC2086 # two options
expect "four times slower" "exit code 1" "exit code 1" "$(run $gate)"
benchmark test_encode_json 0.004
# shellcheck disable=SC2086
expect "four times slower and renamed" "exit code 1" "exit code 0" "$(run $gate)"
expect "lines of the output that name the old benchmark" "1 or more" 0 \
    "$(grep -c 'test_encode\b' "$work/log" || true)"
