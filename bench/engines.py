"""How fast the engines simulate, beside other simulators, in one run: `python -m bench.engines`.

Rows: the compiled engine's run of the baseline (seconds of CPU of the loop alone, and of the whole
process with its record and report), the same with many misses, the reference at the margin (the
requests that a longer run adds, over the CPU time that it adds), and an M/M/1 queue in SimPy, Ciw
and cimba, where these are installed. Every row is a process of its own, one after the other. Its
memory is its largest resident set. A model's fits are left out (attribution.fit_every = 0): the
compiled engine does not simulate them.

`python -m bench.engines [REQUESTS]` (10,000,000).
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REQUESTS = 10_000_000
CUSTOMERS = 100_000
"""Of the queue in other simulators."""
_RATE = 240.0
_LOAD = 0.8

Row = dict[str, float]


def _scenario(requests: float, **changes: Any) -> Any:
    from core.scenario.file import load_scenario
    from scenarios.catalogue import shipped

    overrides = [f"duration={requests / _RATE}s", "attribution.fit_every=0", "queue.wait=1s"]
    overrides += [f"{name}={value}" for name, value in changes.items()]
    return load_scenario(shipped()["baseline"], overrides=overrides)


def compiled(requests: int, **changes: Any) -> Row:
    """Simulate by the compiled engine; the time is that of the loop."""
    from core.scenario.replay import prepare
    from core.scenario.warm_start import warm_state
    from sim.compiled.replication import CompiledReplication, compile_all
    from sim.model import SeededDatabase

    compile_all()
    scenario = _scenario(requests, **changes)
    prepared = prepare(scenario)
    state = warm_state(scenario, prepared)
    run = CompiledReplication(scenario, prepared, state, SeededDatabase(scenario, prepared))
    begun = time.process_time()
    outcome = run.run()
    seconds = time.process_time() - begun
    codes = outcome.requests.reads
    reads = sum(int((codes[:, place] > 0).sum()) for place in range(codes.shape[1]))
    missed = sum(int((codes[:, place] & 15 > 2).sum()) for place in range(codes.shape[1]))
    count = len(outcome.requests.intended)
    return {
        "requests": count, "seconds": seconds, "reads": reads, "missed": missed / max(1, reads),
    }  # fmt: skip


def many_misses(requests: int) -> Row:
    """Simulate a baseline of 100,000 users and 8 isolates, so that many reads miss."""
    changes = {"traffic.users": 100_000, "topology.isolates": 8}
    return compiled(requests, **changes)


def whole(requests: int) -> Row:
    """Simulate, and write the record, the requests and the report; the time is the process's."""
    from core.metrics.record import write_record
    from core.metrics.verdict import compare, outcome
    from sim.simulate import simulate

    scenario = _scenario(requests)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = simulate(scenario, replications=0, engine="compiled")
        record = found.record
        write_record(record, folder / "record.json")
        found.requests.write(folder / "requests.npz")
        del found  # as the command does, which then loads what draws
        from reports.document import write_report
        from reports.report import Report

        rows = compare(scenario.judged(), record, None)
        report = Report(title=scenario.name, rows=rows, outcome=outcome(rows, ()), predicted=record)
        write_report(folder, report)
    return {"requests": record.planned, "seconds": time.process_time()}


def reference(requests: int) -> Row:
    """Simulate by the reference; the time is that of the run alone."""
    from core.scenario.replay import prepare
    from core.scenario.warm_start import warm_state
    from sim.model import Replication, SeededDatabase

    scenario = _scenario(requests)
    prepared = prepare(scenario)
    state = warm_state(scenario, prepared)
    run = Replication(scenario, prepared, state, SeededDatabase(scenario, prepared))
    begun = time.process_time()
    run.run()
    seconds = time.process_time() - begun
    run.loop.close()
    return {"requests": len(prepared.workload), "seconds": seconds}


def simpy_queue(customers: int) -> Row:
    """An M/M/1 queue as SimPy's documentation writes one: a process for each customer."""
    import numpy as np
    import simpy

    draw = np.random.default_rng(1).exponential
    gaps = iter(draw(1 / _LOAD, customers).tolist())
    services = iter(draw(1.0, customers).tolist())
    env = simpy.Environment()
    server = simpy.Resource(env, capacity=1)
    waits: list[float] = []

    def customer() -> Any:
        arrived = env.now
        with server.request() as turn:
            yield turn
            yield env.timeout(next(services))
        waits.append(env.now - arrived)

    def source() -> Any:
        for gap in gaps:
            yield env.timeout(gap)
            env.process(customer())

    env.process(source())
    begun = time.process_time()
    env.run()
    return {"requests": len(waits), "seconds": time.process_time() - begun}


def ciw_queue(customers: int) -> Row:
    """An M/M/1 queue in Ciw."""
    import ciw

    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate=_LOAD)],
        service_distributions=[ciw.dists.Exponential(rate=1.0)],
        number_of_servers=[1],
    )
    ciw.seed(1)
    simulation = ciw.Simulation(network)
    begun = time.process_time()
    simulation.simulate_until_max_time(customers / _LOAD)
    return {
        "requests": len(simulation.get_all_records()), "seconds": time.process_time() - begun,
    }  # fmt: skip


def cimba_queue(customers: int) -> Row:
    """cimba's own M/M/1 queue, of which only the mean length is kept."""
    import cimba as cb
    from cimba import inputs

    model = type("MM1", (cb.Model,), _cimba_body(cb, inputs))()

    def run(length: float) -> None:
        window = cb.Window(warmup=1, duration=length)
        cb.Experiment(model, replications=1, window=window, seed=1).run()

    run(10.0)  # it compiles
    begun = time.process_time()
    run(customers / _LOAD)
    return {"requests": customers, "seconds": time.process_time() - begun}


def _cimba_body(cb: Any, inputs: Any) -> dict[str, Any]:
    def arrivals(self: Any) -> None:
        while True:
            cb.hold(self.interarrival.next())
            self.queue.put(1)

    def server(self: Any) -> None:
        while True:
            self.queue.get(1)
            cb.hold(self.service_time.next())

    def measure(self: Any) -> None:
        self.mean_queue = self.queue.mean_level()

    return {
        "__annotations__": {
            "interarrival": cb.Input[float], "service_time": cb.Input[float],
            "queue": cb.Container, "mean_queue": cb.Output[float],
        },
        "interarrival": inputs.dist.exponential(mean=1 / _LOAD),
        "service_time": inputs.dist.exponential(mean=1.0),
        "arrivals": cb.process(arrivals), "server": cb.process(server),
        "measure": cb.on_end(measure),
    }  # fmt: skip


ROWS: dict[str, Callable[[int], Row]] = {
    "compiled": compiled,
    "misses": many_misses,
    "whole": whole,
    "reference": reference,
    "simpy": simpy_queue,
    "ciw": ciw_queue,
    "cimba": cimba_queue,
}


def _measured(name: str, count: int) -> Row | None:
    """Return the row *name* from a process of its own; None where its package is not installed."""
    command = [sys.executable, "-m", "bench.engines", "--row", name, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"{name}: not measured ({last})", file=sys.stderr)
        return None
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


def _line(title: str, row: Row, base: float | None) -> str:
    rate = row["requests"] / row["seconds"]
    text = f"{title:<42}{row['requests']:>12,.0f}{row['seconds']:>9.2f}{rate / 1e6:>9.3f}"
    text += f"{rate / base:>8.0f}" if base else f"{'':>8}"
    text += f"{row['memory'] / 1e6:>8.0f}"
    if row.get("reads"):
        text += f"   {row['reads'] / row['seconds'] / 1e6:.2f} M reads/s, "
        text += f"{100 * row['missed']:.0f} % missed"
    return text


def main() -> int:
    """Measure every row and print the table; return the exit code."""
    count = int(sys.argv[1].replace(",", "")) if len(sys.argv) > 1 else REQUESTS
    _measured("compiled", 1_000)  # it compiles
    short, long = _measured("reference", 15_000), _measured("reference", 75_000)
    base = None
    print(f"{'':<42}{'requests':>12}{'CPU s':>9}{'M/s':>9}{'times':>8}{'MB':>8}")
    if short is not None and long is not None:
        margin: Row = {key: long[key] - short[key] for key in ("requests", "seconds")}
        margin["memory"] = long["memory"]
        base = margin["requests"] / margin["seconds"]
        print(_line("reference, at the margin (extrapolated)", margin, base))
    rows = (
        ("compiled, the run alone", "compiled", count),
        ("compiled, whole process, record and files", "whole", count),
        ("compiled, 100,000 users, 8 isolates", "misses", count // 5),
        ("M/M/1 in SimPy", "simpy", CUSTOMERS),
        ("M/M/1 in Ciw", "ciw", CUSTOMERS),
        ("M/M/1 in cimba", "cimba", 20 * CUSTOMERS),
    )
    for title, name, number in rows:
        row = _measured(name, number)
        if row is not None:
            print(_line(title, row, base), flush=True)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--row"]:
        found = ROWS[sys.argv[2]](int(sys.argv[3]))
        found["memory"] = 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps(found))
    else:
        sys.exit(main())
