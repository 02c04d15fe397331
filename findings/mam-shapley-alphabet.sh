#!/usr/bin/env bash
# marketing-attribution-models 2.1.1: Shapley credit depends on how the channels are called.
#
# Expected: channels that play the same part in the data get the same credit (symmetry, one of the
#   axioms that define the Shapley value), whatever their names are.
# Happens: of a journey's channels, sorted by name, only the last four take part (max_size=4, the
#   default of run_shapley, cuts the sorted list). In journeys of five channels the first one of the
#   alphabet gets nothing, without a warning. 30 journeys of five channels convert, and 5 of each
#   channel alone: four channels are credited with 12.5 and the first one with 5. Other names move
#   the loss to another channel.
# Hurts: attribution analysts whose journeys are long: "affiliate" and "branding" lose to "search"
#   and "social". Give max_size the number of the channels, and mind that the work doubles with each.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages marketing-attribution-models==2.1.1 numpy==2.4.6 pandas==3.1.1 polars==2.1.0

cat >"$work/credits.py" <<'PY'
import pandas as pd
from mam import MAM

FIVE = ("affiliate", "branding", "email", "search", "social")


def credits(names, **options):
    rows = [(" > ".join(names), True, 30), (" > ".join(names), False, 20)]
    for name in names:
        rows += [(name, True, 5), (name, False, 45)]
    model = MAM(
        pd.DataFrame(rows, columns=["path", "converted", "count"]),
        format_type="grouped_journey",
        channels_colname="path",
        journey_with_conv_colname="converted",
        occurrences_colname="count",
    )
    found = model.run_shapley(**options).to_polars()
    shares = dict(zip(found["channels"].cast(str).to_list(), found["attribution"].to_list()))
    return " ".join(f"{shares[name]:g}" for name in names)


print("RESULT", credits(FIVE))
print("RESULT", credits(("zz affiliate", *FIVE[1:])))
print("RESULT", credits(FIVE, max_size=5))
PY
python "$work/credits.py" 2>"$work/log" | grep '^RESULT' | cut -c 8- >"$work/out"
expect "conversions of affiliate, branding, email, search, social, which play the same part" \
    "11 11 11 11 11" "5 12.5 12.5 12.5 12.5" "$(sed -n 1p "$work/out")"
expect "the same journeys, affiliate called zz affiliate" \
    "11 11 11 11 11" "12.5 5 12.5 12.5 12.5" "$(sed -n 2p "$work/out")"
expect "the same journeys with max_size=5" \
    "11 11 11 11 11" "11 11 11 11 11" "$(sed -n 3p "$work/out")"
