"""What a request costs the load generator, and how late it sends, for several versions in turns.

`python -m bench.generator PYTHON...` takes the interpreters of environments with edgeproof and
loads a small local server from each in turn. It prints for each version and rate the generator's
CPU time of a request (the median over the rounds, of one core) and p99 of its lag (the median).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_ANSWER = (
    b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: 11\r\n"
    b'Cache-Status: L1; hit; key="lookup"\r\nServer-Timing: l1;dur=0.01, total;dur=0.10\r\n\r\n'
    b'{"ok":true}'
)
_SCENARIO = """name = "generator"
start = "cold"
warm_up = "1s"
timeout = "3s"
[traffic]
stages = [{ rate = 200 }]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One load: CPU seconds of a request, p99 of the lag in seconds."""

    cpu: float
    lag_p99: float


class _Server(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # of TCP

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET /api/"):
            self._transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        elif data.startswith(b"POST") and b"\r\n\r\n{" in data:
            self._transport.write(_ANSWER % b"202 Accepted")
        elif data.startswith((b"GET", b"{")):
            is_get = data.startswith(b"GET")
            self._transport.write(_ANSWER % (b"200 OK" if is_get else b"202 Accepted"))


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def load(python: str, url: str, folder: Path, *, rate: float, seconds: float) -> Sent:
    """Load *url* with the edgeproof of *python*; RuntimeError if it leaves no record."""
    scenario = folder / "generator.toml"
    scenario.write_text(_SCENARIO, encoding="utf-8")
    out = folder / "run"
    done = subprocess.run(
        [
            os.path.abspath(python), "-m", "edgeproof", "load", str(scenario), "--host", url,
            "--rate", f"{rate:g}",
            "--set", f"duration={seconds:g}s", "--max-rate", "100000", "--out", str(out), "--plain",
        ],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    try:
        facts = json.loads((out / "load" / "audit.json").read_text(encoding="utf-8"))["facts"]
        audit = json.loads((out / "record.json").read_text(encoding="utf-8"))["audit"]
    except OSError:
        raise RuntimeError(
            f"{python}: no result: {done.stdout[-500:]}{done.stderr[-500:]}"
        ) from None
    return Sent(cpu=facts["cpu_seconds"] / audit["sent"], lag_p99=audit["lag_p99"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of versions and rates."""
    parser = argparse.ArgumentParser(prog="python -m bench.generator", description=__doc__)
    parser.add_argument("python", nargs="+", help="interpreter of an environment with edgeproof")
    parser.add_argument("--rates", default="500,1500", help="requests/s, separated by commas")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    found: dict[tuple[str, float], list[Sent]] = defaultdict(list)
    server = subprocess.Popen(
        [sys.executable, "-c", "import asyncio, bench.generator as g; asyncio.run(g._serve())"],
        stdout=subprocess.PIPE,
    )
    try:
        if server.stdout is None:
            raise RuntimeError("the server has no pipe")
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        for number in range(options.rounds):
            for rate in map(float, options.rates.split(",")):
                for python in options.python[:: -1 if number % 2 else 1]:
                    with tempfile.TemporaryDirectory() as folder:
                        sent = load(python, url, Path(folder), rate=rate, seconds=options.seconds)
                    found[python, rate].append(sent)
    finally:
        server.kill()
        server.communicate()
    print(f"{'rate/s':>8}{'CPU us':>9}{'p99 lag ms':>12}  python")
    for (python, rate), loads in sorted(found.items(), key=lambda item: item[0][1]):
        cpu = statistics.median(each.cpu for each in loads) * 1e6
        lag = statistics.median(each.lag_p99 for each in loads) * 1e3
        print(f"{rate:>8g}{cpu:>9.0f}{lag:>12.2f}  {python}")


if __name__ == "__main__":
    main()
