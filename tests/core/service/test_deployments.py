"""Claims about the service in a scenario with deployments: its isolates are replaced in time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from core.service.plan import WorkerPlan
from core.service.process import ServedApplication
from tests.core.service.serving import small_scenario


def test_each_process_replaces_its_own_isolates_when_the_deployment_reaches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = small_scenario(
        "deployed", topology={"processes": 2, "isolates": 2}, deployments=[
            {"at": "1s", "over": "0.3s"}
        ],
    )  # fmt: skip
    scheduled: list[tuple[float, Any, tuple[Any, ...]]] = []

    async def main() -> None:
        plan = WorkerPlan(scenario=scenario, position=1, folder=tmp_path, redis=None, emulate=False)
        reference = ServedApplication(plan)
        loop = asyncio.get_running_loop()
        later = loop.call_later

        def call_later(delay: float, callback: Any, *arguments: Any) -> asyncio.TimerHandle:
            if callback == reference.replace_isolate:
                scheduled.append((delay, callback, arguments))
            return later(delay, callback, *arguments)

        monkeypatch.setattr(loop, "call_later", call_later)
        starts_in, _ = await reference.begin_run(None)
        (first, replace, one), (second, _, two) = scheduled
        # Isolates 2 and 3 of four, 0.1 s apart, of a run that has not begun.
        assert first == pytest.approx(starts_in + 1.2, abs=0.05)
        assert second - first == pytest.approx(0.1)
        assert (one, two) == ((0,), (1,))
        old, other = reference.caches
        assert len(old.l1) > 0
        assert len(other.l1) > 0  # the start is warm
        replace(*one)
        assert len(reference.caches[0].l1) == 0
        assert reference.caches[1] is other
        assert reference.cdp.cache(0) is reference.caches[0] is not old
        await reference.begin_run(None)  # those of the run before do not strike in the next
        assert len(scheduled) == 4
        await reference.close()

    asyncio.run(main())
