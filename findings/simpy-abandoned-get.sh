#!/usr/bin/env bash
# simpy 4.1.2: a consumer that gives up waiting on a store still takes, and loses, the next item.
#
# Expected: after `yield store.get() | env.timeout(1)` ends by the timeout, the process is out of
#   the queue, as a client that hung up is out of a call centre's. The job that arrives next stays
#   in the store, for the next get.
# Happens: the untriggered get stays in the store's get_queue. It swallows the next item: no
#   process sees it, no error is raised, `store.items` is empty. An Interrupt leaves the same
#   orphan. The documentation of `cancel()` speaks of exceptions only; a get in a `with` block or
#   `get.cancel()` after the timeout avoids it.
# Hurts: capacity planners who model timeouts and retries. Every timeout destroys one later job, so
#   an overloaded model sheds work that no figure counts, and its queue looks shorter than it is.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages simpy==4.1.2

cat >"$work/model.py" <<'PY'
import simpy


def served(cancel):
    env = simpy.Environment()
    store = simpy.Store(env)
    jobs = []

    def impatient():
        get = store.get()
        yield get | env.timeout(1)
        if cancel:
            get.cancel()

    def patient():
        yield env.timeout(3)
        got = yield store.get() | env.timeout(10)
        jobs.extend(value for value in got.values() if value)

    def producer():
        yield env.timeout(2)
        yield store.put("job")

    for process in (impatient, patient, producer):
        env.process(process())
    env.run()
    return f"served {len(jobs)}, left in the store {len(store.items)}"


print(served(cancel=False))
print(served(cancel=True))
PY
python "$work/model.py" >"$work/out"
expect "one job, put after the first consumer gave up" \
    "served 1, left in the store 0" "served 0, left in the store 0" "$(sed -n 1p "$work/out")"
expect "the same with get.cancel() after the timeout" \
    "served 1, left in the store 0" "served 1, left in the store 0" "$(sed -n 2p "$work/out")"
