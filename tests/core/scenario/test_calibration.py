"""Claims about calibrations: they are kept exactly, applied, and scaled by the machine's speed."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from core.distributions import Distribution, constant, empirical, exponential, quantiles
from core.errors import InputError
from core.scenario.calibration import DEPTHS, TIER_TIMES, Calibration
from core.scenario.calibration_file import from_toml, read_calibration, to_toml
from core.scenario.file import parse_scenario
from core.scenario.outside import Learned, Mixture
from core.scenario.topology import Cpu

NANOSECONDS = st.integers(0, 10_000_000_000).map(lambda n: n / 1e9)
POSITIVE = st.integers(1, 10_000_000_000).map(lambda n: n / 1e9)

CPUS = st.fixed_dictionaries(
    {
        name: NANOSECONDS.map(lambda seconds: f"{seconds!r}s")
        for name in ("track", "attribution", "journey", "channels", "per_l2_operation")
    }
).map(Cpu.model_validate)
DISTRIBUTIONS = st.one_of(
    NANOSECONDS.map(constant),
    POSITIVE.map(exponential),
    st.lists(POSITIVE, min_size=2, max_size=2)
    .map(sorted)
    .map(lambda p: quantiles({"p50": p[0], "p99": p[1]})),
    st.lists(NANOSECONDS, min_size=2, max_size=50).map(lambda s: empirical(s, 64)),
)
ENDPOINTS = st.sampled_from(["track", "attribution", "journey", "channels"])
LEARNED = st.builds(Learned, times=DISTRIBUTIONS, samples=st.integers(0, 10**9))
SHARES = st.floats(0, 1)
MIXTURES = st.builds(
    Mixture,
    slow=LEARNED,
    fast=LEARNED,
    fast_first=SHARES,
    fast_repeat=SHARES,
    most_others=st.none() | st.integers(1, 10**6),
    most_age=st.none() | POSITIVE,
)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
CALIBRATIONS = st.builds(
    Calibration,
    cpu=st.none() | CPUS,
    between=st.dictionaries(
        ENDPOINTS, st.dictionaries(st.sampled_from(DEPTHS), LEARNED, min_size=1), max_size=2
    ),
    tiers=st.dictionaries(st.sampled_from(TIER_TIMES), LEARNED, max_size=3),
    concurrency=st.none() | st.integers(1, 8),
    unread=st.dictionaries(ENDPOINTS, st.just(("lookup",))),
    outside=st.dictionaries(ENDPOINTS, MIXTURES, max_size=1),
    speed=st.none() | POSITIVE,
    lag=st.none() | POSITIVE,
    requests=st.integers(0, 10**9),
    notes=st.lists(st.just('a "note" \\ of it'), max_size=2).map(tuple),
)

KNOWN = Calibration(
    cpu=Cpu.model_validate(
        {
            "track": "100us", "attribution": "200us", "journey": "300us", "channels": "400us",
            "per_l2_operation": "50us", "per_l3_operation": "60us",
        }
    ),
    between={
        "track": {"l3": Learned(times=constant(0.001), samples=30)},
        "journey": {"l1": Learned(times=Distribution([0.0, 0.002, 0.004], None), samples=40)},
    },
    tiers={
        "l2.cold_read": Learned(times=constant(0.06), samples=163),
        "l3.write_execution": Learned(times=constant(0.0064), samples=153),
    },
    concurrency=2,
    unread={"track": ("config", "lookup")},
    speed=0.0003,
    lag=0.0021,
    requests=500,
    few={"l2.read": "0 samples; at least 20 are needed"},
    notes=("l2.cold_read has 163 of 1,000 samples",),
)  # fmt: skip


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(CALIBRATIONS)
def test_calibration_comes_back_from_its_file_as_it_was(calibration: Calibration) -> None:
    text = to_toml(calibration, source="a run")
    again = from_toml(text)
    assert again == calibration
    assert to_toml(again, source="a run") == text


def test_file_says_samples_and_what_stays_as_stated() -> None:
    text = to_toml(KNOWN)
    assert "# mean 60 ms, p50 60 ms, p95 60 ms, p99 60 ms\nsamples = 163" in text
    assert '"l2.read" = "0 samples; at least 20 are needed"' in text
    assert tomllib.loads(text)["tiers"]["l3"]["concurrency"] == 2


def test_machine_that_takes_twice_as_long_costs_twice_as_much() -> None:
    slow = KNOWN.at_speed(0.0006)
    assert (slow.speed, slow.requests) == (0.0006, 500)
    assert slow.cpu is not None
    assert dict(slow.cpu) == pytest.approx(
        {
            "track": 200e-6, "attribution": 400e-6, "journey": 600e-6, "channels": 800e-6,
            "per_l2_operation": 100e-6, "per_l3_operation": 120e-6,
        }
    )  # fmt: skip
    track, journey = slow.overhead("track", "l3"), slow.overhead("journey", "l1")
    assert track is not None
    assert journey is not None
    assert track.table == pytest.approx((0.002, 0.002))
    assert journey.table == pytest.approx((0.0, 0.004, 0.008))
    assert slow.tiers == KNOWN.tiers  # a store is no work of this processor
    assert KNOWN.at_speed(0.0003) == KNOWN
    with pytest.raises(ValueError, match="not known"):
        Calibration().at_speed(0.001)


def test_scenario_gets_what_was_learned_and_keeps_the_rest() -> None:
    scenario = parse_scenario({"name": "x", "topology": {"isolates": 7}}, source="x")
    applied = KNOWN.apply(scenario)
    assert applied.topology.cpu == KNOWN.cpu
    assert applied.topology.isolates == 7
    assert applied.tiers.l2.cold_read == constant(0.06)
    assert applied.tiers.l2.read == scenario.tiers.l2.read
    assert applied.tiers.l3.write_execution == constant(0.0064)
    assert applied.tiers.l3.concurrency == 2
    assert applied.endpoints["track"].reads == ()
    assert applied.endpoints["journey"] == scenario.endpoints["journey"]
    assert scenario.topology.cpu == Cpu()
    assert Calibration().apply(scenario) == scenario


def test_endpoint_that_makes_one_of_its_reads_keeps_them() -> None:
    scenario = parse_scenario({"name": "x"}, source="x")
    known = Calibration(unread={"track": ("config",)})
    assert known.apply(scenario).endpoints == scenario.endpoints


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"edgeproof/calibration"', '"edgeproof/record"', "not a calibration"),
        ("schema_version = 1", "schema_version = 2", "schema_version is 2"),
        ('track = "0.0001s"', 'track = "-1us"', "a duration is at least 0"),
        ('track = "0.0001s"', 'tracks = "1us"', "cpu.tracks"),
        ("[between.track.l3]", "[between.items.l3]", "the scenario has no such endpoint"),
        ("[tiers.l2.cold_read]", "[tiers.l2.warm_read]", "tiers.l2.warm_read is not a known key"),
        ('times = "0.06s"', 'times = "soon"', "tiers.l2.cold_read.times: "),
        ("concurrency = 2", "concurrency = 0", "tiers.l3.concurrency is 0"),
        ("requests = 500", 'requests = "many"', "requests is 'many'"),
        ('times = "0.06s"', "", "not a calibration"),
        ("samples = 163", "samples 163", "not valid TOML"),
    ],
)
def test_fault_of_a_file_is_one_line_that_names_it(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    text = to_toml(KNOWN)
    assert old in text
    path = tmp_path / "calibration.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_calibration(path)
    line = str(refused.value)
    assert line.startswith(f"{path}: ")
    assert reason in line
    assert "\n" not in line


def test_missing_file_names_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="edgeproof calibrate"):
        read_calibration(tmp_path / "none.toml")
