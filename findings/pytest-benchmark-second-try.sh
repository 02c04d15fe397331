#!/usr/bin/env bash
# pytest-benchmark 5.3.1: with --benchmark-autosave a run that fails the gate becomes the next
# run's baseline, so that the second try passes.
#
# Expected: the same verdict on the same code. A run that --benchmark-compare-fail turned down is no
#   baseline. The documentation offers both options, to save each run and to compare with the latest
#   saved one, without a warning.
# Happens: the run is saved before it is judged. The latest saved run is then the slow one itself:
#   the retry compares the regression with itself and passes, and so does every run after it.
# Hurts: benchmark maintainers whose CI keeps .benchmarks between runs and retries a failed job: a
#   regression is red once. Compare with a named run (--benchmark-compare=0001), and save only
#   after a pass.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages pytest-benchmark==5.3.1 pytest==9.2.0

gate="--benchmark-autosave --benchmark-compare --benchmark-compare-fail=mean:5%"

expect "the run that is saved" "exit code 0" "exit code 0" \
    "$(run_benchmark test_encode 0.001 --benchmark-autosave)"
# shellcheck disable=SC2086 # three options
expect "four times slower" "exit code 1" "exit code 1" "$(run_benchmark test_encode 0.004 $gate)"
# shellcheck disable=SC2086
expect "the same code once more" "exit code 1" "exit code 0" \
    "$(run_benchmark test_encode 0.004 $gate)"
