#!/usr/bin/env bash
# pytest-benchmark 5.3.1: a renamed benchmark passes --benchmark-compare-fail, however slow it is.
#
# Expected: a failure, or at least a word. The option is documented to fail on a regression, and a
#   benchmark that only one of the two runs has was not compared at all. pyperf's compare_to lists
#   such benchmarks as ignored.
# Happens: benchmarks are matched by their full name. After a rename, a new parameter id or a move
#   to another file the one that is four times slower has no partner; the table shows it
#   alone, nothing says so, exit code 0.
# Hurts: benchmark maintainers. A refactoring, the very change that a gate is for, often renames the
#   benchmark too, and disarms it for that change. A gate must compare the lists of names itself.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages pytest-benchmark==5.3.1 pytest==9.2.0

gate="--benchmark-compare=0001 --benchmark-compare-fail=mean:5%"

expect "the run that is saved" "exit code 0" "exit code 0" \
    "$(run_benchmark test_encode 0.001 --benchmark-save=base)"
# shellcheck disable=SC2086 # two options
expect "four times slower" "exit code 1" "exit code 1" "$(run_benchmark test_encode 0.004 $gate)"
# shellcheck disable=SC2086
expect "four times slower and renamed" "exit code 1" "exit code 0" \
    "$(run_benchmark test_encode_json 0.004 $gate)"
expect "lines of the output that name the old benchmark" "1 or more" 0 \
    "$(grep -c 'test_encode\b' "$work/log" || true)"
