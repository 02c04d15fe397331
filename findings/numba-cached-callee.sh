#!/usr/bin/env bash
# numba 0.68.1: a function that is compiled with cache=True goes on calling what another module held
# when it was compiled.
#
# Expected: after an edit of a constant in prices.py the program computes with the new one, as it
#   does without cache=True; numba compiles anew what has changed.
# Happens: only the file of the cached function itself is looked at. The function that calls
#   prices.charged, and is cached, returns the old sum, with no word, in every later process. (The
#   manual lists it among the limitations of the cache.)
# Hurts: simulators and pricing models of several modules, whose authors change a table and see the
#   figures of yesterday. Deleting __pycache__ helps.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages numba==0.68.1

mkdir "$work/model"
cat >"$work/model/bill.py" <<'PY'
from numba import njit

import prices


@njit(cache=True)
def total(requests):
    return prices.charged(requests)


print(total(10))
PY
write_price() {
    cat >"$work/model/prices.py" <<PY
from numba import njit

PRICE = $1


@njit
def charged(requests):
    return requests * PRICE
PY
}
cd "$work/model"
write_price 2
first=$(python bill.py)
write_price 3000
again=$(python bill.py)
expect "10 requests at a price of 2" 20 20 "$first"
expect "the same program once the price is 3000" 30000 20 "$again"
rm -rf __pycache__
expect "once __pycache__ is gone" 30000 30000 "$(python bill.py)"
