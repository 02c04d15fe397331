#!/usr/bin/env bash
# ChannelAttribution 2.2.5: the conversions of a path lose their fraction.
#
# Expected: the credits of a model add up to the conversions. The column is documented as the total
#   conversions of each path, without a type, and totals are fractions wherever an earlier step
#   weighted or shared them (data-driven exports, imported conversions with a probability).
# Happens: each row is cut to a whole number before it is credited, without a warning. 17
#   conversions (11.7 + 1.5 + 0.9 + 2.9) are credited as 14, and a path of 0.9 gets nothing. Values
#   (revenue) keep their fractions, so the value per conversion is wrong as well.
# Hurts: attribution analysts: rare paths, whose expected conversions are below 1, vanish whole, and
#   the channels at their ends with them. Multiply by a power of ten first, and divide after.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages ChannelAttribution==2.2.5 matplotlib==3.11.2 pandas==3.1.1 numpy==2.4.6

cat >"$work/credits.py" <<'PY'
import pandas as pd
from ChannelAttribution import heuristic_models

conversions = [11.7, 1.5, 0.9, 2.9]
paths = pd.DataFrame(
    {"path": ["a > b", "c", "d", "b > c"], "conversions": conversions, "value": conversions}
)


def row(scale, column):
    scaled = paths.assign(conversions=paths.conversions * scale)
    credits = heuristic_models(scaled, "path", "conversions", var_value="value", flg_pro=False)
    credits = credits.set_index("channel_name")
    return credits["last_touch_" + column] / (scale if column == "conversions" else 1)


print("RESULT", f"{row(1, 'conversions').sum():g}", f"{row(1, 'conversions')['d']:g}")
print("RESULT", f"{row(1, 'value').sum():g}", f"{row(1, 'value')['d']:g}")
print("RESULT", f"{row(10, 'conversions').sum():g}", f"{row(10, 'conversions')['d']:g}")
PY
python "$work/credits.py" 2>"$work/log" | grep '^RESULT' | cut -c 8- >"$work/out"
expect "17 conversions, 0.9 of them of channel d: last touch credits in all, and d" \
    "17 0.9" "14 0" "$(sed -n 1p "$work/out")"
expect "the same figures as values" "17 0.9" "17 0.9" "$(sed -n 2p "$work/out")"
expect "ten times as many conversions, credits divided by ten" "17 0.9" "17 0.9" \
    "$(sed -n 3p "$work/out")"
