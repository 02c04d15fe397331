"""Claims about [endpoints] and [subjects] of scenario files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.endpoints import CDP
from core.errors import InputError
from core.scenario.file import load_scenario, parse_scenario, scenario_data, scenario_hash
from core.scenario.replay import prepare
from core.scenario.scenario import Scenario
from core.scenario.workload import generate_workload

SHOP = """
[subjects.item]
count = 20
[endpoints.items]
path = "/items/{item}"
weight = 3
reads = [{ type = "item", ttl = "60s", queries = 1 }, { type = "price", ttl = "5s", queries = 2 }]
[endpoints.orders]
path = "/orders"
body = { sku = "{item}" }
"""


def loaded(folder: Path, text: str, *overrides: str) -> Scenario:
    path = folder / "s.toml"
    path.write_text('name = "s"\n' + text, encoding="utf-8")
    return load_scenario(path, overrides=overrides)


def refused(folder: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(InputError) as raised:
        loaded(folder, text, *overrides)
    return str(raised.value).splitlines()


def test_a_file_with_endpoints_of_its_own_has_those_alone(tmp_path: Path) -> None:
    scenario = loaded(tmp_path, SHOP)
    assert scenario.endpoints.names == ("items", "orders")
    assert scenario.traffic.mix.weights() == (3.0, 1.0)
    assert dict(scenario.tiers.l2.ttl)["price"] == 5
    assert (scenario.targets.of("items").method, scenario.targets.of("orders").method) == (
        "GET", "POST",
    )  # fmt: skip
    assert scenario.endpoints["orders"].unknown == "reads, queries and writes"
    both = loaded(tmp_path, '[endpoints]\npreset = "cdp"\n' + SHOP)
    assert both.endpoints.names == (*CDP.names, "items", "orders")


def test_a_scenario_is_read_back_from_its_data_with_the_same_hash(tmp_path: Path) -> None:
    scenario = loaded(tmp_path, SHOP)
    again = parse_scenario(scenario_data(scenario), source="record")
    assert again == scenario
    assert scenario_hash(again) == scenario_hash(scenario)


def test_tables_that_change_nothing_leave_the_hash_of_the_cdp(tmp_path: Path) -> None:
    plain = scenario_hash(loaded(tmp_path, ""))
    assert (
        scenario_hash(loaded(tmp_path, '[endpoints.track]\nweight = 0.8\ncpu = "300us"')) == plain
    )
    assert scenario_hash(loaded(tmp_path, '[endpoints]\npreset = "cdp"')) == plain
    assert scenario_hash(loaded(tmp_path, "[endpoints.track]\nreads = []")) != plain


def test_an_endpoint_of_the_cdp_is_changed_in_what_is_said_alone(tmp_path: Path) -> None:
    scenario = loaded(
        tmp_path, "", "endpoints.track.reads=[]", "endpoints.channels.weight=0",
        "endpoints.journey.path=/users/{user_id}",
    )  # fmt: skip
    assert scenario.endpoints["track"].reads == ()
    assert scenario.endpoints["track"].writes == "event"
    assert not scenario.endpoints["track"].unknown
    assert scenario.traffic.mix.of("channels") == 0
    assert scenario.targets.of("journey").path == "/users/{user_id}"
    assert scenario.endpoints["journey"] == CDP["journey"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[targets.track]\npath = '/x'", "targets is no key any more; write [endpoints.NAME]"),
        ("[traffic.mix]\ntrack = 1", "traffic.mix is no key any more; write endpoints.NAME.weight"),
        ("[topology.cpu]\ntrack = '1ms'", "topology.cpu is no key any more; write"),
        ("[endpoints.items]\nweight = 1", "endpoints.items: path is missing"),
        ("[endpoints.items]\npath = 'x'", "endpoints.items.path"),
        ("[endpoints.items]\npath = '/x'\nwieght = 1", "endpoints.items.wieght is not a known key"),
        ("[endpoints.items]\npath = '/x'\n[endpoints.track]\nweight = 1", "endpoints.preset"),
        ("[endpoints.items]\npath = '/x'\nmethod = 'get'", "endpoints.items.method"),
        ("[endpoints.items]\npath = '/x'\nbehaviour = 'os:system'", "names code"),
        ("[endpoints.track]\nsubject = 'none'", "that of track is user"),
        ("[endpoints]\npreset = 'shop'", 'use "cdp" or "none"'),
        ("endpoints = 3", "head each endpoint with [endpoints.NAME]"),
        ("[endpoints.items]\npath = '/x'\nbody = [1]\nbody_type = 'raw'", "endpoints.items.body"),
        ("[endpoints.items]\npath = '/x'\nbody = { a = [1] }\nbody_type = 'form'", "is a form"),
        ("[endpoints.p95]\npath = '/x'\nstatus = '7x'", "endpoints.p95.status"),
        ("[endpoints.items]\npath = '/x/{item}/{user_id}'\n[subjects.item]\ncount = 1",
         "an endpoint is about one subject"),
        ("[subjects.item]\ncount = 3", "subjects.item has no effect"),
        ("[subjects.user]\ncount = 3", "choose another one"),
        ("[subjects.item]\n[endpoints.items]\npath = '/{item}'", "needs a count, ids = FILE"),
        ("[subjects.item]\nids = 'absent.csv'\n[endpoints.items]\npath = '/{item}'",
         "no such file"),
        ("[endpoints.items]\npath = '/x'\nreads = [{ type = 'lookup_data' }]\n"
         "[endpoints]\npreset = 'cdp'", ""),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_clear_line(tmp_path: Path, text: str, words: str) -> None:
    (line,) = refused(tmp_path, text)
    assert line.startswith(f"{tmp_path / 's.toml'}")
    assert words in line


@pytest.mark.parametrize("override", ["targets.track.path=/x", "traffic.mix.track=1"])
def test_an_old_key_of_the_command_line_is_laid_to_its_option(
    tmp_path: Path, override: str
) -> None:
    (line,) = refused(tmp_path, "", override)
    assert line.startswith(f"--set {override}: ")
    assert "is no key any more; write" in line


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a\nb c\n\n", ("a", "b c")), ("item\na\nb\n", ("a", "b")), ("id\r\na\r\n", ("a",)),
        ("\ufeff1\n01\n", ("1", "01")), ('"x,y"\n', ("x,y",)),
    ],
)  # fmt: skip
def test_ids_of_a_file_stand_for_themselves(
    tmp_path: Path, text: str, ids: tuple[str, ...]
) -> None:
    (tmp_path / "ids.csv").write_bytes(text.encode())
    scenario = loaded(tmp_path, SHOP.replace("count = 20", 'ids = "ids.csv"'))
    workload = generate_workload(scenario)
    assert workload.ids == {"item": ids}
    assert set(np.unique(workload.subject)) == set(range(len(ids)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no id"), ("a\nb\na\n", "line 3: 'a' stands twice"),
        ("a,b\n", "line 1: has 2 columns"), ("a\tb\n", "control character"),
    ],
)  # fmt: skip
def test_a_file_of_ids_that_cannot_be_used_is_named_with_its_line(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "ids.csv").write_text(text)
    (line,) = refused(tmp_path, SHOP.replace("count = 20", 'ids = "ids.csv"'))
    assert "subjects.item.ids: " in line
    assert words in line


def test_a_trace_sends_its_own_keys(tmp_path: Path) -> None:
    keys = ["k-9", "k-2", "k-9", "ä/b"]
    rows = "".join(f"{second},{key}\n" for second, key in enumerate(keys))
    (tmp_path / "t.csv").write_text("time,key\n" + rows, encoding="utf-8")
    text = SHOP.replace("count = 20\n", "")
    text += f"[trace]\nfile = '{tmp_path / 't.csv'}'\noffset = 0\n"
    text += '[trace.default]\nendpoint = "items"\ncache_type = "item"\n'
    workload = prepare(loaded(tmp_path, text, "duration=5s", "warm_up=0s")).workload
    assert [workload.ids["item"][number] for number in workload.subject.tolist()] == keys
