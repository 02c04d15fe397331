#!/usr/bin/env bash
# shapley-attribution 2.1.0: the ordered model takes the labels of conversions and ignores them.
#
# Expected: fit(journeys, labels) credits the journeys whose label is 1, as the documentation of the
#   base class says ("1=converted, 0=not") and as the package's simplified model does.
# Happens: OrderedShapleyAttribution credits every journey. 20 of 120 journeys convert; it credits
#   120, as it does without labels, and ranks the channel that converts less often first. Models
#   share one interface, so a comparison of both looks like a difference of the methods.
# Hurts: attribution analysts: the more journeys fail through a channel, the more credit it gets.
#   Pass converting journeys only.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages shapley-attribution==2.1.0 matplotlib==3.11.2 numpy==2.4.6 scikit-learn==1.9.1

cat >"$work/credits.py" <<'PY'
from shapley_attribution import OrderedShapleyAttribution, SimplifiedShapleyAttribution

counts = [(["a", "b"], 10, 10), (["a"], 6, 40), (["b"], 4, 50)]
journeys, labels = [], []
for journey, converted, failed in counts:
    journeys += [journey] * (converted + failed)
    labels += [1] * converted + [0] * failed

for model in (SimplifiedShapleyAttribution, OrderedShapleyAttribution):
    credit = model().fit(journeys, labels).get_attribution()
    print("RESULT", f"{sum(credit.values()):g}", f"{credit['a']:g} {credit['b']:g}")
only = [journey for journey, label in zip(journeys, labels) if label]
credit = OrderedShapleyAttribution().fit(only, [1] * len(only)).get_attribution()
print("RESULT", f"{sum(credit.values()):g}", f"{credit['a']:g} {credit['b']:g}")
PY
python "$work/credits.py" 2>"$work/log" | grep '^RESULT' | cut -c 8- >"$work/out"
expect "120 journeys, 20 convert: credit in all, of a and of b by the simplified model" \
    "20 11 9" "20 11 9" "$(sed -n 1p "$work/out")"
expect "the same by the ordered model" "20 11 9" "120 56 64" "$(sed -n 2p "$work/out")"
expect "the ordered model, converting journeys only" "20 11 9" "20 11 9" \
    "$(sed -n 3p "$work/out")"
