"""Claims about accounts: path files, heuristics by published definitions, fits and intervals."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given

from core.attribution.account import account_of, chosen_models, transitions_of
from core.attribution.bootstrap import bootstrap
from core.attribution.fitted import FittedModel, fit
from core.attribution.models import BUILT_IN, MODELS
from core.attribution.parameters import Parameters
from core.attribution.path_file import read_paths
from core.attribution.paths import Paths
from core.errors import InputError
from tests.core.attribution.flat import TEXT, channels_of, path_sets, paths_from


def written(folder: Path, text: str) -> Path:
    file = folder / "paths.csv"
    file.write_text(text, encoding="utf-8")
    return file


def in_text(paths: Paths) -> list[tuple[list[str], float, float, float]]:
    return [
        (channels_of(paths, n), paths.conversions[n], paths.values[n], paths.nulls[n])
        for n in range(len(paths))
    ]


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.replace(",", ";"),
        "\ufeff" + TEXT.replace("\n", "\r\n"),
        TEXT.replace(" > ", ">"),
        TEXT.replace("search > email > direct,", '"search > email > direct",'),
        "\n".join(f"x{'y' * (n > 0)},{line}" for n, line in enumerate(TEXT.splitlines())),
        TEXT.replace("path,", "Path ,").replace("total_null", "Total_NULL"),
    ],
    ids=[
        "comma",
        "semicolon",
        "byte order mark",
        "no spaces",
        "quotes",
        "another column",
        "other case",
    ],
)
def test_path_files_are_read_as_the_field_writes_them(tmp_path: Path, text: str) -> None:
    paths, notes = read_paths(written(tmp_path, text))
    assert notes == []
    found = in_text(paths)
    assert found[0] == (["search", "email", "direct"], 12, 120.5, 40)
    assert found[-1] == (["affiliate", "search"], 4, 44, 10)
    assert len(found) == 6


def test_quoted_channel_may_hold_the_separator(tmp_path: Path) -> None:
    text = 'path,total_conversions\n"a, b > c",1\n'
    paths, notes = read_paths(written(tmp_path, text))
    assert in_text(paths) == [(["a, b", "c"], 1, 0, 0)]
    assert ["total_conversion_value" in notes[0], "total_null" in notes[1]] == [True, True]


@pytest.mark.parametrize("absent", ["", " ", "NA", "NaN", "null", "<NA>", "None", "n/a", "-"])
def test_absent_numbers_of_values_and_nulls_are_zero_and_said(tmp_path: Path, absent: str) -> None:
    text = "path,total_conversions,total_conversion_value,total_null\n"
    text += f"a,4,{absent},{absent}\nb,3,7.5,{absent}\n"
    paths, notes = read_paths(written(tmp_path, text))
    assert in_text(paths) == [(["a"], 4, 0, 0), (["b"], 3, 7.5, 0)]
    assert [note.partition("paths.csv ")[2] for note in notes] == [
        "has no total_conversion_value in 1 row: it is 0",
        "has no total_null in 2 rows: it is 0",
    ]


def test_empty_path_is_a_conversion_without_a_touch(tmp_path: Path) -> None:
    paths, _ = read_paths(written(tmp_path, "path,total_conversions\na,4\n,3\n"))
    account = account_of(paths, Parameters())
    assert (account.attributed, account.untouched) == (4, 3)
    assert {row.conversions for row in account.rows} == {4.0}
    assert "3 conversions have no touch and go to no channel" in account.notices


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "paths.csv:1: no column path"),
        ("path,sold\na,1\n", "no column total_conversions"),
        ("path,path,total_conversions\na,b,1\n", "column path stands twice"),
        ("path,total_conversions\n", "has no rows"),
        ("path,total_conversions\na,1\nb,many\n", "paths.csv:3: total_conversions is 'many'"),
        ("path,total_conversions,total_null\na,1,-1\n", "total_null is '-1'; a number of at least"),
        ("path,total_conversions\na,nan\n", "total_conversions is 'nan'"),
        ("path,total_conversions\na,\n", "total_conversions is ''"),
        ("path,total_conversions,total_null\na,1,some\n", "total_null is 'some'"),
        ("path,Path,total_conversions\na,b,1\n", "column path stands twice"),
        ("path,total_conversions\na,1e999\n", "total_conversions is '1e999'"),
        ("path;total_conversions\na;1,5\n", "total_conversions is '1,5'.*decimal point"),
        ("path,total_conversions\na > > b,1\n", "paths.csv:2: path 'a > > b' has a channel"),
        ("path,total_conversions\na\n", "paths.csv:2: has 1 column, the header needs 2"),
        ("path,total_conversions\na,1\nb,12,5\n", "paths.csv:3: has 3 columns, the header 2"),
        ('path,total_conversions\n"a,1\n', "not a row of CSV"),
        ("path,total_conversions,total_conversion_value\na,0,inf\n", "value is 'inf'"),
    ],
)
def test_unusable_path_file_is_named_by_line_and_value(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        read_paths(written(tmp_path, text))


def test_empty_cells_behind_the_header_s_columns_do_not_count(tmp_path: Path) -> None:
    paths, _ = read_paths(written(tmp_path, "path,total_conversions\na,1,,\n"))
    assert paths.conversions.tolist() == [1.0]


def test_unreadable_path_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="/dev/full: is a device, and may never end"):
        read_paths(Path("/dev/full"))
    with pytest.raises(InputError, match="cannot be read"):
        read_paths(tmp_path / "missing.csv")
    (tmp_path / "latin.csv").write_bytes("path,total_conversions\ncafé,1\n".encode("latin-1"))
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_paths(tmp_path / "latin.csv")


@given(path_sets())
def test_heuristics_equal_their_published_definitions(paths: Paths) -> None:
    # First touch, last touch and linear as the field's tools define them: each path's totals go
    # to its first channel, its last, or in equal parts to every touch.
    expected: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for channels, conversions, value, _ in in_text(paths):
        for model, touched in (
            ("first_click", channels[:1]), ("last_click", channels[-1:]), ("linear", channels)
        ):  # fmt: skip
            for channel in touched:
                expected[model, channel][0] += conversions / len(touched)
                expected[model, channel][1] += value / len(touched)
    account = account_of(paths, Parameters(), models=["first_click", "last_click", "linear"])
    assert len(account.rows) == 3 * len(paths.channels)
    for row in account.rows:
        assert [row.conversions, row.value] == pytest.approx(expected[row.model, row.channel])


@given(path_sets())
def test_removal_figures_share_out_the_same_totals(paths: Paths) -> None:
    account = account_of(paths, Parameters(), models=["data_driven"], minimum=1)
    if account.rows:
        removal = [row.removal_conversions or 0.0 for row in account.rows]
        assert sum(removal) == pytest.approx(account.attributed, abs=1e-9)
        values = [row.removal_value or 0.0 for row in account.rows]
        assert sum(values) == pytest.approx(account.value, abs=1e-9)


def test_without_nulls_every_path_converts(tmp_path: Path) -> None:
    paths, _ = read_paths(written(tmp_path, TEXT))
    one = account_of(paths, Parameters(), with_nulls=False).fitted
    two = account_of(paths, Parameters()).fitted
    assert one is not None
    assert two is not None
    assert (one.conversion_rate, two.conversion_rate) == pytest.approx((1.0, 62 / 562))


def test_few_conversions_fall_back_to_equal_credit_and_say_so() -> None:
    paths = paths_from([("ab", 3, 9, 5), ("b", 1, 1, 5)])
    account = account_of(paths, Parameters())
    by_model = {
        m: {r.channel: r.conversions for r in account.rows if r.model == m} for m in account.models
    }
    assert by_model["data_driven"] == by_model["linear"]
    assert any("only 4 conversions, fewer than 10" in notice for notice in account.notices)
    enough = account_of(paths, Parameters(), minimum=4)
    assert not any("fewer" in notice for notice in enough.notices)
    for one, other in zip(account.rows, enough.rows, strict=True):
        assert one.removal_conversions == other.removal_conversions


def test_times_decide_over_time_decay() -> None:
    assert chosen_models([], has_times=True) == (tuple(BUILT_IN.values()), [])
    models, notices = chosen_models([], has_times=False)
    assert "time_decay" not in [model.name for model in models]
    assert "time_decay is left out" in notices[0]
    with pytest.raises(InputError, match="time_decay needs times"):
        chosen_models(["time_decay"], has_times=False)


def test_unknown_model_is_refused_with_the_seven() -> None:
    with pytest.raises(InputError) as caught:
        chosen_models(["markov"], has_times=True)
    assert all(name in str(caught.value) for name in MODELS)
    with pytest.raises(InputError, match="linear is named twice"):
        chosen_models(["linear", "linear"], has_times=True)


def test_fitted_model_survives_json_and_tells_of_changes(tmp_path: Path) -> None:
    paths, _ = read_paths(written(tmp_path, TEXT))
    parameters = Parameters(order=2)
    model = fit(transitions_of(paths, parameters), parameters, window=(1, 2))
    data = json.loads(json.dumps(model.to_json()))
    assert FittedModel.from_json(data) == model
    assert FittedModel.from_json(data).version == model.version
    data["weights"]["search"] += 1e-9
    with pytest.raises(InputError, match="fit the model anew"):
        FittedModel.from_json(data)
    with pytest.raises(InputError, match="cannot be read"):
        FittedModel.from_json({"schema_version": 1})
    with pytest.raises(InputError, match="schema_version is 2"):
        FittedModel.from_json({**data, "schema_version": 2})


def test_channel_that_the_fit_never_saw_weighs_nothing() -> None:
    paths = paths_from([("ab", 20, 0, 5)])
    model = fit(transitions_of(paths, Parameters()), Parameters())
    assert model.weights_of(("a", "new")).tolist() == [1.0, 0.0]


def test_intervals_are_repeatable_hold_the_figures_and_narrow_with_data(tmp_path: Path) -> None:
    paths, _ = read_paths(written(tmp_path, TEXT))
    more, _ = read_paths(written(tmp_path, "\n".join(_tenfold(line) for line in TEXT.splitlines())))
    found = bootstrap(paths, Parameters(), seed=1, replicates=60)
    again = bootstrap(paths, Parameters(), seed=1, replicates=60)
    narrow = bootstrap(more, Parameters(), seed=1, replicates=60)
    assert found is not None
    assert again is not None
    assert narrow is not None
    assert (found.credit == again.credit).all()
    widths = found.credit[:, 1] - found.credit[:, 0]
    assert (narrow.credit[:, 1] - narrow.credit[:, 0]).sum() < 0.5 * widths.sum()
    account = account_of(paths, Parameters(), models=["data_driven"])
    for row in account.rows:
        place = found.channels.index(row.channel)
        low, high = found.credit[place]
        assert low <= row.conversions / account.attributed <= high
        low, high = found.removal[place]
        assert low <= (row.removal_conversions or 0.0) / account.attributed <= high


def test_resamples_take_no_more_memory_for_paths_walked_more_often(tmp_path: Path) -> None:
    walks = [("ab", 3e8, 2e9, 1e12), ("b", 4e14, 1e15, 1e15), ("c", 0, 0, 0)]
    tracemalloc.start()
    try:
        found = bootstrap(paths_from(walks), Parameters(), seed=1, replicates=20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found is not None
    assert peak < 2_000_000
    place = found.channels.index("b")
    assert found.credit[place] == pytest.approx((1.0, 1.0), abs=1e-5)


def test_resamples_spread_as_a_multinomial_does() -> None:
    # The share of one of two channels that convert alone is binomial: sqrt(p (1 - p) / n).
    found = bootstrap(
        paths_from([("a", 300, 0, 0), ("b", 700, 0, 0)]), Parameters(), seed=3, replicates=2_000
    )
    assert found is not None
    low, high = found.credit[found.channels.index("a")]
    deviation = math.sqrt(0.3 * 0.7 / 1_000)
    assert (high - low) / (2 * 1.96 * deviation) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("with_nulls", [True, False])
def test_resamples_are_fitted_as_the_figures_are(with_nulls: bool) -> None:
    paths = paths_from([("a", 50, 0, 900), ("bc", 40, 0, 10), ("ba", 30, 0, 5)])
    found = bootstrap(paths, Parameters(), seed=2, replicates=100, with_nulls=with_nulls)
    assert found is not None
    account = account_of(paths, Parameters(), models=["data_driven"], with_nulls=with_nulls)
    for row in account.rows:
        low, high = found.removal[found.channels.index(row.channel)]
        assert low <= (row.removal_conversions or 0.0) / account.attributed <= high


def _tenfold(line: str) -> str:
    path, *numbers = line.split(",")
    return ",".join([path, *(n if n.startswith("total") else str(10 * float(n)) for n in numbers)])


def test_nothing_that_converts_has_no_intervals() -> None:
    for nulls in (9, 0):
        paths = paths_from([("a", 0, 0, nulls)])
        assert bootstrap(paths, Parameters(), seed=1, replicates=20) is None
    with pytest.raises(ValueError, match="at least 20"):
        bootstrap(paths_from([("a", 1, 0, 0)]), Parameters(), seed=1, replicates=19)


def test_channel_of_the_name_of_the_rest_is_no_rare_one_without_any(tmp_path: Path) -> None:
    paths, _ = read_paths(written(tmp_path, TEXT.replace("display", "(other)")))
    whole = account_of(paths, Parameters(), models=["data_driven"])
    assert whole.notices == ()
    few = account_of(paths, Parameters(), models=["data_driven"], most=2)
    assert few.notices == (
        "data_driven takes 3 rare channels as one, (other), where their removal figures stand, and "
        "with them the data's own channel of that name",
    )


def test_resamples_tell_the_channels_of_all_paths_apart() -> None:
    # Nearly equally frequent: in many resamples others than a and b are the most frequent.
    paths = paths_from([("a", 21, 0, 30), ("b", 21, 0, 29), ("c", 20, 0, 29), ("d", 20, 0, 28)])
    found = bootstrap(paths, Parameters(), seed=1, replicates=40, most=2)
    assert found is not None
    low = dict(zip(found.channels, found.removal[:, 0].tolist(), strict=True))
    high = dict(zip(found.channels, found.removal[:, 1].tolist(), strict=True))
    assert min(low["a"], low["b"]) > 0.1
    assert high["c"] == high["d"] == 0


def test_more_walks_than_fit_into_64_bits_are_resampled() -> None:
    paths = paths_from([("a", 2.0**63, 0, 2.0**63), ("ab", 2.0**62, 0, 2.0**63)])
    found = bootstrap(paths, Parameters(), seed=1, replicates=20)
    assert found is not None
    assert found.credit[:, 1].tolist() == pytest.approx(found.credit[:, 0].tolist(), abs=1e-6)
