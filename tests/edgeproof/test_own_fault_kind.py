"""Claims about fault kinds of one's own: one description reaches everything that a fault does."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text
from numpy.typing import NDArray

from core.emulation.faults import FaultSchedule
from core.errors import InputError
from core.scenario.fault_kinds import BUILT_IN, Asked, Call, FaultKind, FaultKinds
from core.scenario.file import load_scenario, parse_scenario, scenario_data
from core.scenario.scenario import Scenario
from reports.timeline import timeline
from sim.simulate import simulate
from tests.core.service.serving import serving, small_scenario
from tests.edgeproof.commands import called
from tests.installed import install

BROWNOUT = """
from core.scenario.fault_kinds import Call, FaultKind

def _effect(call, value, since, draw):
    return Call(call.seconds * 3, call.failed or draw() < value)

def _idle(value):
    return "" if value else "its value is 0; raise it"

KIND = FaultKind(
    name="brownout", value="a share of operations between 0 and 1", most=1.0, tiers=("l2",),
    call=_effect, idle=_idle,
    label="brown-out",
)
"""
ENTRY = "[edgeproof.fault_kinds]\nbrownout = shop_faults:KIND\n"
FAULT = {"at": "0s", "for": "1000s", "tier": "l2", "kind": "brownout", "value": 0.5}


def _creep(call: Call, value: float, since: float, _: object) -> Call:
    return Call(call.seconds * (1 + value * since), call.failed)


def _back(_: Call, __: float, ___: float, ____: object) -> Call:
    return Call(-1.0)


def _all_first(asked: Asked, _: str | None, struck: NDArray[np.bool_]) -> Asked:
    return replace(asked, subject=np.where(struck, 0, asked.subject).astype(np.uint32))


def _beyond(asked: Asked, _: str | None, struck: NDArray[np.bool_]) -> Asked:
    return replace(asked, subject=np.where(struck, asked.users, asked.subject).astype(np.uint32))


CREEP = FaultKind(name="creep", value="times slower after 1 s", call=_creep)
HERD = FaultKind(name="herd", value="a share", most=1.0, traffic=_all_first)


def _scenario(*faults: dict[str, Any], kinds: FaultKinds = BUILT_IN) -> Scenario:
    small = small_scenario(
        "own", start="cold", traffic={"stages": [{"rate": 200}]},
        tiers={"l2": {"breaker": {"failures": 0}}},
    )  # fmt: skip
    data = scenario_data(small) | {"faults": list(faults)}
    return parse_scenario(data, source="own.toml", fault_kinds=kinds)


def _marked(record: Any, kinds: FaultKinds = BUILT_IN) -> list[str]:
    found = timeline(record, None, (), kinds).findobj(Text)
    return [text.get_text() for text in found if isinstance(text, Text)]


def test_installed_kind_acts_in_the_simulation_the_service_and_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        monkeypatch, tmp_path / "site", module="shop_faults", source=BROWNOUT, entry_points=ENTRY
    )
    scenario = _scenario(FAULT)
    assert pickle.loads(pickle.dumps(scenario)) == scenario  # as replications reach their workers
    found = simulate(scenario, replications=0).record
    calm = simulate(_scenario(), replications=0).record
    assert (calm.counters["l2_errors"], found.counters["l2_errors"] > 0) == (0, True)
    assert found.stages["l2"].quantile(0.5) > 2.5 * calm.stages["l2"].quantile(0.5)
    assert "L2 brown-out" in _marked(found)
    (tmp_path / "service").mkdir()
    with serving(scenario, tmp_path / "service") as (visitor,):
        assert visitor.counters()["l2_errors"] == 0
        assert visitor.command("run").status_code == 200  # from now on faults count
        for number in range(20_000):
            visitor.get(f"/journey/nobody-{number}")
            if number % 50 == 49 and visitor.counters()["l2_errors"]:
                break
        counters = visitor.counters()
    assert 0 < counters["l2_errors"] < counters["l2_operations"]


def test_kind_of_a_package_is_refused_by_name_where_that_is_not_installed(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(
        'name = "own"\n[[faults]]\nat = "0s"\nfor = "9s"\ntier = "l2"\nkind = "brownout"\n'
    )
    done = called("simulate", str(file), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"edgeproof: {file}: faults[0].kind is \"brownout\"; use 'slow', 'error', 'dead' or "
        "'hot_key'\n"
    )


def test_two_scenarios_of_one_process_have_kinds_of_their_own() -> None:
    kinds = BUILT_IN | FaultKinds(CREEP, HERD)
    creep = {"at": "0s", "for": "9s", "tier": "l2", "kind": "creep", "value": 50.0}
    slowed = _scenario(creep, kinds=kinds)
    with pytest.raises(InputError, match=r"faults\[0\].kind is \"creep\"; use 'slow', 'error', 'd"):
        _scenario(creep)
    with pytest.raises(InputError, match="'hot_key', 'creep' or 'herd'"):
        _scenario(creep | {"kind": "crawl"}, kinds=kinds)
    assert pickle.loads(pickle.dumps(slowed)) == slowed  # as it reaches other processes
    found = simulate(slowed, replications=0).record
    calm = simulate(_scenario(), replications=0).record
    assert found.stages["l2"].quantile(0.5) > 5 * calm.stages["l2"].quantile(0.5)
    assert "L2 creep" in _marked(found, kinds)
    assert "L2 creep" in _marked(found)  # a record of another installation is drawn, too
    herd = {"at": "0s", "for": "9s", "kind": "herd", "endpoint": "journey"}
    turned = simulate(_scenario(herd, kinds=kinds), replications=0)
    assert {int(s) for s, e in zip(*_asked(turned), strict=True) if e == 2} == {0}
    assert "herd of journey" in _marked(turned.record, kinds)


def _asked(found: Any) -> tuple[Any, Any]:
    return found.requests.subject, found.requests.endpoint


def test_own_kinds_leave_the_data_of_other_scenarios_as_they_are() -> None:
    kinds = BUILT_IN | FaultKinds(CREEP)
    slow = {"at": "1s", "for": "1s", "tier": "l3", "kind": "slow", "value": 4.0}
    assert scenario_data(_scenario(slow, kinds=kinds)) == scenario_data(_scenario(slow))
    assert json.loads(json.dumps(scenario_data(_scenario(slow))))["faults"][0]["kind"] == "slow"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"value": 1.5}, "faults[0]: value 1.5 is not a share of operations between 0 and 1"),
        ({"tier": "l3"}, 'faults[0]: brownout does not strike l3; use tier = "l2"'),
        ({"value": 0}, "faults[0] (l2 brownout) cannot strike: its value is 0; raise it"),
    ],
)
def test_own_kind_is_checked_as_it_describes_itself(
    fault: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, tmp_path, module="shop_faults", source=BROWNOUT, entry_points=ENTRY)
    lines = [f"{name} = {json.dumps(value)}" for name, value in (FAULT | fault).items()]
    file = tmp_path / "own.toml"
    file.write_text("\n".join(['name = "own"', "[[faults]]", *lines]) + "\n")
    with pytest.raises(InputError) as caught:
        load_scenario(file)
    assert str(caught.value) == f"{file}: {words}"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("KIND = 7", "is 7; it has to be a FaultKind of that name"),
        ("1 / 0", "cannot be imported (ZeroDivisionError: division by zero)"),
        ("", "cannot be imported (AttributeError"),
        (BROWNOUT.replace('"brownout"', '"slow"'), "it has to be a FaultKind of that name"),
    ],
)
def test_package_that_gives_no_kind_is_named(
    source: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"shop_faults_{abs(hash(source))}"
    install(
        monkeypatch, tmp_path, module=module, source=source,
        entry_points=ENTRY.replace("shop_faults", module),
    )  # fmt: skip
    with pytest.raises(InputError, match=r"'brownout' of edgeproof\.fault_kinds") as caught:
        _scenario(FAULT)
    assert words in str(caught.value)


def test_kind_without_an_effect_or_with_a_name_that_is_taken_cannot_be() -> None:
    with pytest.raises(ValueError, match="needs an effect: either call or traffic"):
        FaultKind(name="nothing", value="nothing")
    with pytest.raises(ValueError, match="'creep' has a function without a place in a module"):
        replace(CREEP, idle=lambda _: "")
    with pytest.raises(ValueError, match="two fault kinds named 'slow'"):
        BUILT_IN | FaultKinds(replace(CREEP, name="slow"))


def test_effect_that_is_no_time_and_requests_that_cannot_be_made_are_named() -> None:
    back = FaultKind(name="back", value="", call=_back)
    beyond = replace(HERD, name="beyond", traffic=_beyond)
    kinds = FaultKinds(back, beyond)
    fault = {"at": "0s", "for": "9s", "tier": "l2", "kind": "back"}
    schedule = FaultSchedule(_scenario(fault, kinds=kinds).faults)
    with pytest.raises(ValueError, match="'back' lets an operation on l2 take -1"):
        schedule.apply("l2", 1.0, 1.0, None, None)  # type: ignore[arg-type]  # it draws nothing
    fault = {"at": "0s", "for": "9s", "kind": "beyond", "endpoint": "track"}
    with pytest.raises(InputError, match="'beyond' returned a user beyond the 50"):
        simulate(_scenario(fault, kinds=kinds), replications=0)
