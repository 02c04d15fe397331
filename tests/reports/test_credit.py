"""Claims about the credit figure: what it says and draws, and that every name can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from core.attribution.account import Account, account_of
from core.attribution.bootstrap import bootstrap
from core.attribution.parameters import Parameters
from core.attribution.path_file import read_paths
from reports import style
from reports.credit import credit, credit_finding
from reports.labels import fitting
from tests.core.attribution.flat import DAY_MS, TEXT, paths_from
from tests.reports.drawn import check_texts

LONG = [
    "google_ads_brand_search_emea_2026", "google_ads_brand_search_apac_2026",
    "newsletter-weekly-digest-subscribers-who-have-not-bought-in-the-last-ninety-days-west",
    "newsletter-weekly-digest-subscribers-who-have-not-bought-in-the-last-ninety-days-east",
    "newsletter-weekly-digest-subscribers-who-have-not-bought-in-the-last-ninety-eight-days-east",
    "W" * 300, "(direct)", "x", "facebook", "affiliate",
]  # fmt: skip


@pytest.fixture
def path_file(tmp_path: Path) -> Path:
    file = tmp_path / "paths.csv"
    file.write_text(TEXT)
    return file


def world(*, value: bool, timed: bool = False) -> Any:
    rng = np.random.default_rng(3)
    rows, times = [], []
    for _ in range(60):
        channels = [str(name) for name in rng.choice(LONG, rng.integers(1, 5))]
        money = float(rng.integers(1, 900)) if value else 0.0
        rows.append((channels, float(rng.integers(1, 20)), money, float(rng.integers(0, 99))))
        times.append([10**12 + DAY_MS * n for n in range(len(channels))])
    return paths_from(rows, times=times if timed else None)


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("models", [(), ("linear",), ("linear", "data_driven")], ids=len)
@pytest.mark.parametrize("timed", [True, False])
def test_long_and_like_names_stay_apart_and_in_the_figure(
    models: tuple[str, ...], value: bool, timed: bool
) -> None:
    paths = world(value=value, timed=timed)
    intervals = None
    if not models:
        intervals = bootstrap(paths, Parameters(), seed=1, replicates=20)
    figure = credit(account_of(paths, Parameters(), models=models), intervals)
    check_texts(figure)
    for axes in figure.axes[:1] if len(models) == 1 else figure.axes:
        names = [text.get_text().rpartition("  ")[0] for text in axes.texts]
        if len(models) == 1:  # the panel at the right has the same rows
            names = [label.get_text() for label in axes.get_yticklabels()]
        assert len(set(names)) == 8


@given(
    st.lists(st.text("ab", min_size=1, max_size=30), max_size=12, unique=True),
    st.integers(6, 20),
)
def test_labels_fit_and_are_told_apart(names: list[str], room: int) -> None:
    labels = fitting(names, lambda text: len(text) <= room)
    assert set(labels) == set(names)
    assert len(set(labels.values())) == len(names)
    for name, label in labels.items():
        assert len(label) <= room
        assert (label == name) == (len(name) <= room)


def shares_drawn(figure: Figure, panel: int) -> dict[str, list[float]]:
    """Return the heights of the dots by colour."""
    lines = [line for line in figure.axes[panel].lines if line.get_marker() == "o"]
    return {str(line.get_color()): list(np.asarray(line.get_ydata(), float)) for line in lines}


def test_value_is_drawn_in_the_same_colours_under_the_conversions(path_file: Path) -> None:
    found = account(path_file)
    figure = credit(found)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Conversions", "Value"]
    assert "and of their value" in style.subtitle(figure)
    for panel, (kind, total) in enumerate((("conversions", 62), ("value", 764.5))):
        drawn = shares_drawn(figure, panel)
        labels = {text.get_color(): text.get_text() for text in figure.axes[panel].texts}
        for colour, heights in drawn.items():
            channel = labels[colour].rpartition("  ")[0]
            expected = [getattr(r, kind) / total for r in found.rows if r.channel == channel]
            assert heights == pytest.approx(expected)
    assert len(credit(account(path_file, models=["linear"])).axes) == 2
    without = account_of(paths_from([(["a", "b"], 1, 0, 0)]), Parameters())
    assert len(credit(without).axes) == 1
    refunds = account_of(
        paths_from([(["a"], 1, -5, 0), (["b"], 1, 9, 0)]), Parameters(), models=["linear"]
    )
    assert len(credit(refunds).axes) == 1


def account(path_file: Path, **options: Any) -> Account:
    return account_of(read_paths(path_file)[0], Parameters(), **options)


def test_figure_states_its_finding_and_draws_the_same_twice(path_file: Path) -> None:
    found = account(path_file)
    figure = credit(found)
    assert style.finding(figure) == (
        "direct depends most on the model: 0 % of the conversions by first click, 19 % by last "
        "click"
    )
    assert style.svg(figure) == style.svg(credit(found))
    one = account(path_file, models=["linear"])
    assert credit_finding(one) == "search gets 62 % of the conversions by linear"
    assert style.png(credit(one))


def test_figure_of_many_channels_names_the_largest_and_sums_up_the_rest() -> None:
    paths = paths_from([([f"channel-{n:02d}"], 20.0 - n, 0, 3) for n in range(15)])
    figure = credit(account_of(paths, Parameters()))
    assert "The 7 largest channels have names." in style.subtitle(figure)
    assert "Every model gives every channel the same share" in style.finding(figure)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert sum("channel-" in text for text in texts) == 7
    assert sum("all others" in text for text in texts) == 1


def test_figure_without_conversions_is_refused() -> None:
    with pytest.raises(ValueError, match="no conversion"):
        credit(account_of(paths_from([("a", 0, 0, 4)]), Parameters()))
