#!/usr/bin/env bash
# mta 0.0.9: the Markov model follows observed paths only, so its chance of a conversion is not the
# chain's.
#
# Expected: the chance that the fitted first-order chain reaches "conversion" equals the observed
#   conversion rate (every journey is one walk through the chain, so its expected flows are the
#   counts), and removal effects are differences of that chance (Anderl et al., 2016). The package
#   calls the method the analytical calculation and has one by simulation beside it.
# Happens: the chance is a sum over the distinct observed converting paths. A chain with two
#   channels that follow each other (a > b and b > a) also walks a > b > a and on; those walks are
#   left out. 20 of 60 journeys convert, the package says 0.25, and channel a gets 80 % of the credit
#   where the chain gives 65 %.
# Hurts: attribution analysts: the more often channels follow each other in both orders, the more
#   of the base chance is missing, and the shares lean to channels of short paths.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages mta==0.0.9 numpy==2.4.6 pandas==3.1.1

cat >"$work/chain.py" <<'PY'
import numpy as np
import pandas as pd
from mta import MTA

paths = pd.DataFrame(
    {
        "path": ["a", "a > b", "b", "b > a"],
        "total_conversions": [10, 5, 0, 5],
        "total_null": [10, 5, 20, 5],
        "exposure_times": ["1", "1 > 2", "1", "1 > 2"],
    }
)
model = MTA(paths, allow_loops=True, add_timepoints=False)
matrix = model.transition_matrix()
model.markov()
shares = model.attribution["markov"]


def chance(channels):
    """Solve the same transition matrix, with what leads to other channels lost."""
    step = np.array([[matrix.get((i, j), 0.0) for j in channels] for i in channels])
    end = np.array([matrix.get((i, "(conversion)"), 0.0) for i in channels])
    start = np.array([matrix.get(("(start)", i), 0.0) for i in channels])
    return float(start @ np.linalg.solve(np.eye(len(channels)) - step, end))


base = chance(["a", "b"])
effects = {"a": base - chance(["b"]), "b": base - chance(["a"])}
print("RESULT", f"{base:.4f}")
print("RESULT", f"{model.prob_convert(matrix):.4f}")
print("RESULT", f"{effects['a'] / sum(effects.values()):.2f}")
print("RESULT", f"{shares['a'] / sum(shares.values()):.2f}")
PY
python "$work/chain.py" 2>"$work/log" | grep '^RESULT' | cut -c 8- >"$work/out"
expect "chance of a conversion by solving the package's own matrix; observed 20 of 60" \
    0.3333 0.3333 "$(sed -n 1p "$work/out")"
expect "chance of a conversion by mta" 0.3333 0.2500 "$(sed -n 2p "$work/out")"
expect "share of channel a by solving the matrix" 0.65 0.65 "$(sed -n 3p "$work/out")"
expect "share of channel a by mta" 0.65 0.80 "$(sed -n 4p "$work/out")"
