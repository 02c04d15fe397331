#!/usr/bin/env bash
# libcachesim 0.3.5: a time to live is accepted, on requests and for a whole cache, and ignored.
#
# Expected: an object that was fetched at second 0 with a life of 10 s is a miss at second 100. A
#   Request has a `ttl` beside its `clock_time`, every cache takes `default_ttl`, readers take
#   `ttl_field` (public key-value traces have such a column); nothing says that they are unused.
# Happens: it is a hit, for ever. The miss ratio is that of a cache without expiry.
# Hurts: capacity planners who size a cache from a trace with TTLs: for a key that is read every
#   60 s and lives 10 s the simulated hit ratio is nearly 1 and the true one is 0.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages libcachesim==0.3.5

cat >"$work/expiry.py" <<'PY'
from libcachesim import LRU, Request


def hits(cache, **ttl):
    """Read one key every 60 s for an hour."""
    times = range(0, 3600, 60)
    requests = [Request(obj_id=1, obj_size=1, clock_time=time, **ttl) for time in times]
    return f"{sum(cache.get(request) for request in requests)} hits in {len(times)}"


print(hits(LRU(cache_size=100), ttl=10))
print(hits(LRU(cache_size=100, default_ttl=10)))
PY
python "$work/expiry.py" >"$work/out" 2>"$work/log"
expect "a read every 60 s, Request(ttl=10)" "0 hits in 60" "59 hits in 60" \
    "$(sed -n 1p "$work/out")"
expect "a read every 60 s, LRU(default_ttl=10)" "0 hits in 60" "59 hits in 60" \
    "$(sed -n 2p "$work/out")"
