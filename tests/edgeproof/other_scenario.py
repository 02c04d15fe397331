"""The scenario of the service of another make, `other_cdp`."""

from __future__ import annotations

SCENARIO = """
name = "other"
duration = "3s"
warm_up = "0s"
start = "cold"
[traffic]
stages = [{ rate = 60 }]
users = 30
conversions = 300
[topology]
isolates = 1
[tiers]
single_flight = false
[caches]
memory = "l1"
store = "l2"
"""
