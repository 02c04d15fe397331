#!/usr/bin/env bash
# simpy 4.1.2: items of equal priority leave a PriorityStore in the order of a heap, not of arrival.
#
# Expected: within one priority class first come is first served, the discipline that queueing
#   theory means by a priority queue, that Store promises, and that PriorityResource keeps.
# Happens: PriorityStore pushes PriorityItem onto a heap, and PriorityItem compares its priority
#   alone. Eight items of one class leave as 0 2 6 5 7 4 1 3. A priority of (class, arrival number)
#   restores the order.
# Hurts: capacity planners. The mean wait of a class is right, its tail is not: later items can pass
#   an early one again and again, so p95 and p99 of the wait belong to another discipline.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages simpy==4.1.2

cat >"$work/model.py" <<'PY'
import simpy


def order(priority):
    env = simpy.Environment()
    store = simpy.PriorityStore(env)
    left = []

    def run():
        for number in range(8):
            yield store.put(simpy.PriorityItem(priority(number), number))
        for _ in range(8):
            left.append((yield store.get()).item)

    env.process(run())
    env.run()
    return " ".join(map(str, left))


def resource_order():
    env = simpy.Environment()
    desk = simpy.PriorityResource(env, capacity=1)
    left = []

    def customer(number):
        with desk.request(priority=1) as turn:
            yield turn
            yield env.timeout(1)
            left.append(number)

    for number in range(8):
        env.process(customer(number))
    env.run()
    return " ".join(map(str, left))


print(order(lambda number: 1))
print(resource_order())
print(order(lambda number: (1, number)))
PY
python "$work/model.py" >"$work/out"
fifo="0 1 2 3 4 5 6 7"
expect "PriorityStore, eight items of one priority" "$fifo" "0 2 6 5 7 4 1 3" \
    "$(sed -n 1p "$work/out")"
expect "PriorityResource, eight requests of one priority" "$fifo" "$fifo" "$(sed -n 2p "$work/out")"
expect "PriorityStore with (class, arrival number)" "$fifo" "$fifo" "$(sed -n 3p "$work/out")"
