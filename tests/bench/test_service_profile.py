"""Claims about the profile of the service, and about versions of it beside each other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench import service_versions
from bench.loopback import WrongAnswer
from bench.profiled_worker import taken
from bench.service_profile import Share, Snapshot, by_layer, layer_of, profile, scaled, table
from bench.service_versions import CASES, checkout_of, lacks_revision, pairs_beside, running_version
from core.errors import InputError
from tests.conftest import find_program


def test_a_miss_is_a_get_a_statement_and_a_set_and_the_layers_add_up() -> None:
    find_program("redis-server", package="redis-server")
    found = profile(size=40, rounds=1)
    assert tuple(found) == CASES
    assert found["miss"].commands == {"get": 1.0, "set": 1.0}
    assert found["miss"].statements == {"user_journey": 1.0}
    assert found["L2 hit"].commands == {"get": 1.0}
    assert found["L1 hit"].commands == found["L1 hit"].statements == {}
    assert found["tracked event"].statements == {"insert_event": 1.0}
    for case in found.values():
        assert sum(share.seconds for share in case.layers.values()) == pytest.approx(case.cpu)
    miss, hit, none = (found[name].layers["redis-py"].calls for name in CASES[:3])
    assert miss > hit > 10 * none  # what is left is the channel of invalidations, which listens
    assert "user_journey 1.00" in table(found)


def test_layers_are_told_by_file_and_freed_of_the_profiler() -> None:
    assert layer_of("/x/core/caching/redis_kv.py") == "redis-py"
    assert layer_of("/x/core/caching/tiered.py") == "cache"
    assert layer_of("/x/asyncio/streams.py") == "redis-py"
    assert layer_of("/x/asyncio/events.py") == "event loop"
    before = Snapshot(
        functions={"/core/application/cdp.py:track": (5, 5, 1.0)}, call=0.01, c_call=0.02
    )
    after = Snapshot(
        functions={
            "/core/application/cdp.py:track": (15, 25, 3.0),
            "/core/query/lane.py:run": (10, 0, 0.05),
            "/core/metrics/machine.py:fixed_work": (1, 0, 9.0),
        },
        call=0.01, c_call=0.02,
    )  # fmt: skip
    layers = by_layer(before, after, requests=10)
    own = 2.0 - 10 * 0.01 - 20 * 0.02
    assert layers["routing, validation"].calls == 3.0
    assert layers["routing, validation"].seconds == pytest.approx(own / 10)
    assert layers["threads, hand-over"] == Share(calls=1.0, seconds=0.0)  # not below nothing
    assert sum(share.seconds for share in scaled(layers, 0.5).values()) == pytest.approx(0.5)


def test_nothing_is_taken_where_nothing_was_profiled() -> None:
    assert taken([]) == {}
    assert scaled({"rest": Share(calls=0.0, seconds=0.0)}, 0.5)["rest"].seconds == 0.0


def test_a_version_takes_turns_with_itself() -> None:
    find_program("redis-server", package="redis-server")
    here = Path(service_versions.__file__).resolve().parent.parent
    pairs = pairs_beside(here, "L1 hit", rounds=1, size=20)
    ((base, ours),) = pairs
    assert base > 0
    assert ours > 0


def test_what_is_no_version_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="no checkout"), running_version(tmp_path):
        pass
    assert lacks_revision("0000000")
    with pytest.raises(InputError, match="0000000"), checkout_of("0000000"):
        pass
    assert service_versions.main([str(tmp_path), "--blocks", "8"]) == 2
    assert service_versions.main([str(tmp_path), "--blocks", "1"]) == 2
    assert "at least 8" in capsys.readouterr().err


def test_miss_ends_when_l2_holds_what_was_missed() -> None:
    class Filling:
        """A redis-server whose keys come one by one, as background writes do."""

        def __init__(self) -> None:
            self.held = 0

        def keys(self) -> int:
            self.held = min(3, self.held + 1)
            return self.held

    redis = Filling()
    asyncio.run(service_versions._written(redis, 3))  # type: ignore[arg-type]  # keys alone is asked
    assert redis.held == 3
    with pytest.raises(WrongAnswer, match=r"L2 holds 3 of the 4 keys"):
        asyncio.run(service_versions._written(redis, 4, limit=0.0))  # type: ignore[arg-type]
