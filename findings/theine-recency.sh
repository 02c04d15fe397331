#!/usr/bin/env bash
# theine 2.0.0: keys that are hot for a short time are hardly ever hits.
#
# Expected: the policy "automatically switches between LRU and LFU strategies to achieve a higher
#   hit ratio across diverse workloads" (README of 2.0.0), so where an LRU answers half of all reads
#   it ends up near that.
# Happens: 50,000 keys are each asked for twice, 200 new keys apart, in a cache of 1,000 entries. An
#   LRU of that size answers 50 % of the reads, theine about 1 %: a new key is admitted if it was
#   asked for more often than the one that it would displace, and it does not change over within
#   100,000 reads.
# Hurts: users of a cache in front of sessions, carts or journeys, whose keys live for minutes: nearly
#   all reads go to the store behind it.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages theine==2.0.0 cachetools==8.0.1

cat >"$work/replay.py" <<'PY'
from cachetools import LRUCache
from theine import Cache

KEYS, GAP, ROOM = 50_000, 200, 1_000
order = sorted((n + turn * GAP, turn, n) for n in range(KEYS) for turn in (0, 1))
reads = [f"k{n}" for _, _, n in order]

lru = LRUCache(ROOM)
lru_hits = 0
cache = Cache(ROOM)
hits = 0
for key in reads:
    if key in lru:
        lru_hits += 1
        lru[key]
    else:
        lru[key] = 1
    if cache.get(key)[1]:
        hits += 1
    else:
        cache.set(key, 1)
print("RESULT", f"{lru_hits / len(reads):.0%}")
print("RESULT", "below 5%" if hits / len(reads) < 0.05 else f"{hits / len(reads):.0%}")
cache.close()
PY
python "$work/replay.py" 2>"$work/log" | grep '^RESULT' | cut -c 8- >"$work/out"
expect "hits of an LRU of 1,000 entries" 50% 50% "$(sed -n 1p "$work/out")"
expect "hits of theine with 1,000 entries" "about 50%" "below 5%" "$(sed -n 2p "$work/out")"
