#!/usr/bin/env bash
# pytest-benchmark 5.3.1: with --benchmark-autosave a run that fails the gate becomes the next
# run's baseline, so that the second try passes.
#
# Expected: the same verdict on the same code. A run that --benchmark-compare-fail turned down is no
#   baseline; the documentation offers the two options side by side, to save runs and to compare
#   with "the latest saved run".
# Happens: the run is saved before it is judged. The latest saved run is then the slow one itself:
#   the retry compares the regression with itself and passes, and so does every run after it.
# Hurts: benchmark maintainers whose CI keeps .benchmarks between runs and retries a failed job: a
#   regression is red once. Compare with a named run (--benchmark-compare=0001), and save only
#   after a pass.
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
    printf 'import clock\n\n\ndef test_encode(benchmark):\n    benchmark(clock.work, %s)\n' "$1" \
        >"$work/test_it.py"
    shift
    (cd "$work" && PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=. python -m pytest -q -p no:cacheprovider test_it.py \
        --benchmark-timer=clock.read --benchmark-max-time=0.01 "$@") >"$work/log" 2>&1 || code=$?
    echo "exit code $code"
}
gate="--benchmark-autosave --benchmark-compare --benchmark-compare-fail=mean:5%"

expect "the run that is saved" "exit code 0" "exit code 0" "$(run 0.001 --benchmark-autosave)"
# shellcheck disable=SC2086 # three options
expect "four times slower" "exit code 1" "exit code 1" "$(run 0.004 $gate)"
# shellcheck disable=SC2086
expect "the same code once more" "exit code 1" "exit code 0" "$(run 0.004 $gate)"
