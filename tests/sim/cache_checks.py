"""What the tiered caches promise, checked against everything that happened in a world."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from core.caching.statistics import COLUMNS
from core.wire import BYPASS, COLLAPSED, L1_HIT, L2_HIT, MISS, NEGATIVE, STALE
from tests.sim.cache_plan import EDGE_TTL
from tests.sim.cache_world import Answered, Changed, Happened, Loaded, happen

FLOAT = 1e-9
_OUTCOME = NEGATIVE - 1

# Each check yields what is wrong with what happened.


def wrong_reads(happened: Happened) -> Iterator[str]:
    """Every answer is young enough, was not forgotten, and is what its outcome says."""
    absences: dict[str, list[Loaded]] = {}
    for load in happened.loads:
        if load.how in ("loaded", "set") and load.version is None:
            absences.setdefault(load.key, []).append(load)
    for read in happened.reads:
        if read.how != "answered":
            continue
        candidates = [read.value] if read.value is not None else absences.get(read.key, [])[::-1]
        what = "no load found nothing"
        for load in candidates:
            what = _wrong_age(happened, read, load) or _forgotten(happened, read, load)
            if not what:
                break
        if what:
            yield f"read {read.row} of {read.key} in {read.isolate} at {read.ended_at!r}: {what}"


def _wrong_age(happened: Happened, read: Answered, load: Loaded) -> str:
    plan, policy = happened.plan, happened.plan.policy
    if load.key != read.key:
        return f"answered with {load.key}"
    ttl = plan.ttls[load.key[0]]
    if load.version is None:
        ttl = min(ttl, policy.negative_ttl)
    # A batch may have its values at once and wait for others.
    served_at = read.began_at if read.code is None else read.ended_at
    age, outcome = served_at - load.began_at, (read.code or 0) & _OUTCOME
    is_stale = bool((read.code or 0) & STALE)
    is_new = load.ended is not None and load.ended > read.began
    if outcome in (MISS, BYPASS) and not (is_new and load.isolate == read.isolate):
        return f"a miss is answered with load {load.number}, which is not its own"
    if outcome in (L1_HIT, L2_HIT) and is_stale and age < ttl * (1 - policy.ttl_jitter) - 0.001:
        return f"stale at the age of {age}"
    bound = policy.stale_while_revalidate
    if outcome in (L1_HIT, L2_HIT) and not is_stale:
        bound = 0.0
    elif outcome != L2_HIT and (plan.load_fails or plan.no_loads):
        bound = max(bound, policy.stale_if_error)
    if age >= ttl + bound + FLOAT and (outcome in (L1_HIT, L2_HIT) or not is_new):
        return f"load {load.number} is {age} s old with a TTL of {ttl} and {bound} beyond"
    return ""


def _forgotten(happened: Happened, read: Answered, load: Loaded) -> str:
    plan = happened.plan
    process = read.isolate // plan.isolates
    for change in happened.changes:
        if load.began > change.began or not change.covers(read.key, has_tags=plan.has_tags):
            continue
        if process != load.isolate // plan.isolates and _ms(load) == _ms(change):
            continue  # clocks order two processes to a millisecond
        if process == change.process:
            told = change.ended
        else:
            told = change.heard.get(process)
        if told is not None and told < read.since:
            return f"load {load.number} began before change {change.row}"
        if process != change.process and _outlived(happened, read, load, change):
            return f"load {load.number} outlived change {change.row} elsewhere"
    return ""


def _ms(what: Loaded | Changed) -> int:
    return int(what.began_at * 1000)


def _outlived(happened: Happened, read: Answered, load: Loaded, change: Changed) -> bool:
    """Return whether a process that was not told may no longer serve *load*."""
    plan, policy = happened.plan, happened.plan.policy
    if change.how != "done" or change.ended is None:
        return False  # L2 may still have it
    if policy.stale_if_error:
        return False  # L1 goes on with it while L2 or the database fails
    if load.ended is None or load.ended > change.began:
        return False  # it was on its way
    if any(place > change.began for place in happened.puts.get(load.number, ())):
        return False
    if load.version is None and any(place > change.began for place in happened.puts.get(-1, ())):
        return False
    until = change.ended_at + policy.l1_ttl + policy.stale_while_revalidate
    if plan.is_eventual:
        until += EDGE_TTL
    elif happened.gaps and change.ended < happened.gaps[0][0] < read.since:
        return True
    return read.began_at >= until + FLOAT


def wrong_loads(happened: Happened) -> Iterator[str]:
    """An isolate loads a key once at a time, unless the first load was overtaken."""
    plan = happened.plan
    if not plan.policy.single_flight:
        return
    by_place: dict[tuple[int, str], list[Loaded]] = {}
    for load in happened.loads:
        if not load.is_set:
            by_place.setdefault((load.isolate, load.key), []).append(load)
    for (isolate, key), loads in by_place.items():
        forgets = [place for place, _ in happened.gaps]
        for change in happened.changes:
            if change.covers(key, has_tags=plan.has_tags):
                if change.process == isolate // plan.isolates:
                    forgets.append(change.began)
                elif isolate // plan.isolates in change.heard:
                    forgets.append(change.heard[isolate // plan.isolates])
        for position, load in enumerate(loads):
            for earlier in loads[:position]:
                if earlier.ended is not None and earlier.ended < load.began:
                    continue
                asked = min(earlier.asked, load.asked)
                if not any(asked < place < load.began for place in forgets):
                    yield f"loads {earlier.number} and {load.number} of {key} at once in {isolate}"


def wrong_counts(happened: Happened) -> Iterator[str]:
    """The shares of the outcomes are those of the reads, and every load and operation counts."""
    for isolate, cache in enumerate(happened.caches):
        expected: Counter[tuple[str, str]] = Counter()
        for kind, code in happened.noted[isolate]:
            expected[kind, COLUMNS[code & _OUTCOME]] += 1
            expected[kind, "negative"] += bool(code & NEGATIVE)
            expected[kind, "stale"] += bool(code & STALE)
        counted = {
            (kind, column): number
            for kind, row in cache.statistics.outcomes.items()
            for column, number in zip(COLUMNS, row, strict=True)
        }
        if +expected != +Counter(counted):
            yield f"isolate {isolate} counted {counted}, its reads were {dict(expected)}"
        if cache.statistics.loads != happened.load_calls[isolate]:
            yield f"isolate {isolate} counted {cache.statistics.loads} loads"
        if cache.l1.peak_bytes > cache.l1.max_bytes:
            yield f"isolate {isolate} held {cache.l1.peak_bytes} bytes"
    per_process = happened.plan.isolates
    for process, store in enumerate(happened.stores):
        caches = happened.caches[process * per_process : (process + 1) * per_process]
        sent = sum(cache.statistics.l2_reads + cache.statistics.l2_writes for cache in caches)
        answered = store.operations - store.deletions
        if sent != answered:
            yield f"process {process} counted {sent} operations of L2's {answered}"


def wrong_waits(happened: Happened) -> Iterator[str]:
    """Nobody waits for L2 beyond the limits; who waits for one load is answered in order."""
    plan = happened.plan
    soft = plan.policy.l2_soft_timeout
    followers: dict[tuple[int, str, int, float], list[Answered]] = {}
    for read in happened.reads:
        if not read.how:
            yield f"read {read.row} never ended"
        limit = soft if soft and read.has_fallback else plan.tier.timeout
        if read.l2_wait > limit + FLOAT:
            yield f"read {read.row} waited {read.l2_wait} s for L2"
        if read.how == "answered" and read.code == COLLAPSED and read.value is not None:
            place = (read.isolate, read.key, read.value.number, read.ended_at)
            followers.setdefault(place, []).append(read)
    left = [read for read in happened.reads if read.how == "cancelled"]
    for (isolate, key, *_), together in followers.items():
        together.sort(key=lambda read: read.began)
        first, last = together[0], together[-1]
        if any(
            (read.isolate, read.key) == (isolate, key) and first.began < read.ended < last.ended
            for read in left
        ):
            continue  # who waited for somebody who left has joined again
        for before, after in pairwise(together):
            if before.ended > after.ended:
                yield f"read {after.row} was answered before {before.row}, which waited longer"


def wrong_refreshes(happened: Happened) -> Iterator[str]:
    """A stale answer comes with a load, unless one has just failed or somebody else sees to it."""
    plan = happened.plan
    for read in happened.reads:
        if read.how != "answered" or read.code is None or not read.code & STALE:
            continue
        since = read.ended_at - plan.policy.retry_pause - plan.load_time[1] - plan.step - FLOAT
        place = (read.isolate, read.key)
        is_loaded = any(
            (load.isolate, load.key) == place
            and since <= load.began_at <= read.ended_at + plan.tier.timeout
            for load in happened.loads
        )
        is_shared = any(
            (other.isolate, other.key) == place
            and other is not read
            and other.began < read.ended
            and other.ended > read.began
            for other in happened.reads
        )
        if not is_loaded and not is_shared:
            yield f"read {read.row} of {read.key} at {read.ended_at!r} is stale and renews nothing"


def wrong_rest(happened: Happened) -> Iterator[str]:
    """In the end L2 holds nothing that its writer knew to be overtaken."""
    plan = happened.plan
    if plan.is_eventual or plan.delete_fails or plan.policy.await_put:
        return  # a write that is cancelled does not clear up
    by_place = {
        place: happened.loads[number]
        for number, places in happened.puts.items()
        for place in places
        if number >= 0
    }
    for key, place in happened.held.items():
        load = by_place.get(place)
        if load is None or load.is_set:
            continue
        process = load.isolate // plan.isolates
        for change in happened.changes:
            if change.covers(key, has_tags=plan.has_tags) and change.began > load.began:
                told = change.began if process == change.process else change.heard.get(process)
                if told is not None and told < place and change.how == "done":
                    yield f"L2 still has load {load.number} of {key} after change {change.row}"


CHECKS = (wrong_reads, wrong_loads, wrong_counts, wrong_waits, wrong_refreshes, wrong_rest)


def complaints(seed: int) -> list[str]:
    """Return what is wrong with the world of *seed*."""
    try:
        happened = happen(seed)
    except RuntimeError as error:
        return [f"it hangs: {error}"]
    return [*happened.faults, *(what for check in CHECKS for what in check(happened))]
