"""The credit figure: what share of conversions and value each channel gets, model by model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from core.attribution.account import Account
from core.attribution.bootstrap import Intervals
from core.attribution.models import DATA_DRIVEN
from reports import style, words
from reports.labels import fitting, shortened

MOST_CHANNELS = 8
_OTHERS = "all others"
_COLOURS = (
    style.BLUE, style.RED_TEXT, style.GREEN_TEXT, style.PINK_TEXT, style.SKY_TEXT,
    style.ORANGE_TEXT, style.INK, style.ORANGE,
)  # fmt: skip
_WIDTH = 9.6  # inches
_SIZE = 8.5  # points
_MOST_ROOM = 0.32  # of the figure's width, for names
_Shares = Mapping[str, Mapping[str, float]]
"""By model and channel, the share of the conversions, or of their value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """One measure: what it shares out, the shares of the channels drawn, removal shares of them."""

    name: str
    shares: _Shares
    removal: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]

    @property
    def top(self) -> float:
        """The largest share that is drawn."""
        drawn = [share for of in self.shares.values() for share in of.values()]
        return max(*drawn, *self.removal.values(), *(high for _, high in self.intervals.values()))


def credit(account: Account, intervals: Intervals | None = None) -> Figure:
    """Draw each channel's share of the conversions, and of their value, under every model.

    Beyond MOST_CHANNELS the smaller ones are drawn together. *intervals*: of data_driven. Raise
    ValueError if nothing was attributed.
    """
    if not is_drawable(account):
        raise ValueError("no conversion was attributed, or some channel has fewer than 0")
    panels = _panels(account, intervals)
    with style.drawing():
        title = words.wrapped(credit_finding(account), 88)
        draws = _bars if len(account.models) == 1 else _lines
        titles = 0.22 if len(panels) > 1 else 0.0
        figure = draws(panels, account.models, 0.85 + titles + 0.23 * title.count("\n"))
        style.headline(figure, title, _subtitle(account, panels, intervals))
        return figure


def is_drawable(account: Account) -> bool:
    """Return whether the channels have shares: a part of what is below 0 is none."""
    return account.attributed > 0 and all(row.conversions >= 0 for row in account.rows)


def _subtitle(account: Account, panels: Sequence[_Panel], intervals: Intervals | None) -> str:
    what = f"Share of {account.attributed:,.6g} conversions"
    if len(panels) > 1:
        what += " and of their value"
    models = "model" if len(account.models) > 1 else _name(account.models[0])
    parts = [f"{what}, by {models}."]
    if len(account.models) > 1 and DATA_DRIVEN in account.models:
        parts.append("Hollow: by global removal effects.")
        if intervals is not None:
            parts.append("Bars: 95 % of resamples.")
    if _OTHERS in panels[0].shares[account.models[0]]:
        parts.append(f"The {MOST_CHANNELS - 1} largest channels have names.")
    return " ".join(parts)


def credit_finding(account: Account) -> str:
    """Return in one sentence which channel depends most on the model, or leads the only one."""
    shares = _all_shares(account)
    if len(account.models) == 1:
        model = account.models[0]
        channel, share = max(shares[model].items(), key=lambda item: item[1])
        return f"{_told(channel)} gets {_percent(share)} of the conversions by {_name(model)}"
    channels = list(shares[account.models[0]])

    def spread(channel: str) -> float:
        found = [shares[model][channel] for model in account.models]
        return max(found) - min(found)

    channel = max(channels, key=spread)
    low = min(account.models, key=lambda model: shares[model][channel])
    high = max(account.models, key=lambda model: shares[model][channel])
    if spread(channel) < 0.005:
        return "Every model gives every channel the same share, within half a percentage point"
    return (
        f"{_told(channel)} depends most on the model: "
        f"{_percent(shares[low][channel])} of the conversions by {_name(low)}, "
        f"{_percent(shares[high][channel])} by {_name(high)}"
    )


def _told(channel: str) -> str:
    return shortened(words.printable(channel), 60)


def undrawn(account: Account) -> list[str]:
    """Return the channels that `credit` names, but with letters that its font lacks."""
    named = _panels(account, None)[0].shares[account.models[0]]
    return [name for name in map(words.printable, named) if not style.can_draw(name)]


def _name(model: str) -> str:
    return model.replace("_", " ")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 or not share else f"{100 * share:.1f} %"


def _all_shares(account: Account) -> dict[str, dict[str, float]]:
    # data_driven may have a channel of its own, which stands for all rare ones.
    channels = dict.fromkeys(row.channel for row in account.rows)
    shares = {model: dict.fromkeys(channels, 0.0) for model in account.models}
    for row in account.rows:
        shares[row.model][row.channel] = row.conversions / account.attributed
    return shares


def _panels(account: Account, intervals: Intervals | None) -> list[_Panel]:
    """Return what is drawn: conversions, and value if it is positive, of the same channels.

    Channels stand by their mean share of the conversions, the others last.
    """
    every = _all_shares(account)
    channels = list(every[account.models[0]])
    ranked = sorted(channels, key=lambda c: (-sum(of[c] for of in every.values()), c))
    named = ranked if len(ranked) <= MOST_CHANNELS else ranked[: MOST_CHANNELS - 1]
    panels = []
    for kind, total in (("conversions", account.attributed), ("value", account.value)):
        if total <= 0 or any(getattr(row, kind) < 0 for row in account.rows):
            continue  # shares of what has negative parts say nothing
        places = named if len(named) == len(ranked) else [*named, _OTHERS]
        shares = {model: dict.fromkeys(places, 0.0) for model in account.models}
        removal: dict[str, float] = {}
        for row in account.rows:
            place = row.channel if row.channel in named else _OTHERS
            shares[row.model][place] += getattr(row, kind) / total
            part = getattr(row, f"removal_{kind}")
            if part is not None:
                removal[place] = removal.get(place, 0.0) + part / total
        ends: dict[str, tuple[float, float]] = {}
        if intervals is not None and DATA_DRIVEN in account.models and kind == "conversions":
            ends = {
                channel: (low, high)
                for channel, (low, high) in zip(
                    intervals.channels, intervals.credit.tolist(), strict=True
                )
                if channel in named
            }
        panels.append(_Panel(name=kind, shares=shares, removal=removal, intervals=ends))
    return panels


def _colours(channels: Iterable[str]) -> dict[str, str]:
    return {
        channel: style.EDGE if channel == _OTHERS else colour
        for channel, colour in zip(channels, _COLOURS, strict=False)
    }


def _lines(panels: Sequence[_Panel], models: Sequence[str], head: float) -> Figure:
    """Draw a panel under the other, a line of dots per channel, its name at the line's end."""
    each, gap = (3.2, 0.0) if len(panels) == 1 else (2.55, 0.6)
    height = head + len(panels) * (each + gap) - gap + 0.45
    figure = Figure(figsize=(_WIDTH, height))
    share_room = max(
        style.text_width(f"  {_percent(share)}", size=_SIZE, is_bold=True)
        for panel in panels
        for share in panel.shares[models[-1]].values()
    )
    most = _MOST_ROOM * _WIDTH * 72 - share_room
    names = _labels(panels[0].shares[models[0]], most, is_bold=True)
    room = share_room + max(
        style.text_width(name, size=_SIZE, is_bold=True) for name in names.values()
    )
    right = 1 - max(0.2, (room + 20) / (_WIDTH * 72))  # 20: before and behind a label that moved
    for number, panel in enumerate(panels):
        bottom = height - head - (number + 1) * each - number * gap
        box = (0.065, bottom / height, right - 0.065, each / height)
        axes = figure.add_axes(box)
        if len(panels) > 1:
            axes.set_title(panel.name.capitalize())
        _draw_lines(axes, panel, models, names)
    return figure


def _draw_lines(axes: Axes, panel: _Panel, models: Sequence[str], names: Mapping[str, str]) -> None:
    axes.set_xlim(-0.25, len(models) - 0.75)
    axes.set_ylim(0, 1.08 * panel.top)
    axes.set_xticks(range(len(models)), [_name(model) for model in models])
    axes.tick_params(axis="x", length=0, labelsize=_SIZE)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g} %"))
    axes.set_ylabel(f"share of the {panel.name}")
    labels = []
    for channel, colour in _colours(panel.shares[models[0]]).items():
        points = [panel.shares[model][channel] for model in models]
        # Models have no order: the thin line only leads the eye from one dot to the next.
        axes.plot(range(len(models)), points, color=colour, lw=1.0, alpha=0.55, zorder=2)
        axes.plot(range(len(models)), points, "o", color=colour, ms=5, zorder=3, clip_on=False)
        if channel in panel.removal:
            axes.plot(
                models.index(DATA_DRIVEN) + 0.09, panel.removal[channel], "D", ms=4.5, mew=1.2,
                mfc=style.PAPER, mec=colour, zorder=3, clip_on=False,
            )  # fmt: skip
        if channel in panel.intervals:
            low, high = panel.intervals[channel]
            axes.vlines(models.index(DATA_DRIVEN), low, high, color=colour, lw=2.6, alpha=0.5)
        if colour == style.EDGE:
            colour = style.MUTED
        text = f"{names[channel]}  {_percent(points[-1])}"
        labels.append(style.EndLabel(x=axes.get_xlim()[1], y=points[-1], text=text, colour=colour))
    style.end_labels(axes, labels, size=_SIZE)


def _bars(panels: Sequence[_Panel], models: Sequence[str], head: float) -> Figure:
    """Draw a panel beside the other, a bar per channel, the names at the left."""
    height = head + 3.2 + 0.45
    figure = Figure(figsize=(_WIDTH, height))
    names = _labels(panels[0].shares[models[0]], _MOST_ROOM * _WIDTH * 72)
    room = max(style.text_width(name, size=_SIZE) for name in names.values())
    left = max(0.1, (room + 14) / (_WIDTH * 72))
    gap = 0.04
    width = (0.97 - left - gap * (len(panels) - 1)) / len(panels)
    for number, panel in enumerate(panels):
        axes = figure.add_axes((left + number * (width + gap), 0.45 / height, width, 3.2 / height))
        if len(panels) > 1:
            axes.set_title(panel.name.capitalize())
        _draw_bars(axes, panel.name, panel.shares[models[0]], names)
        if number:
            axes.tick_params(axis="y", labelleft=False)
    return figure


def _draw_bars(
    axes: Axes, name: str, shares: Mapping[str, float], names: Mapping[str, str]
) -> None:
    channels = list(shares)[::-1]
    amounts = [shares[channel] for channel in channels]
    axes.barh(
        range(len(channels)),
        amounts,
        height=0.62,
        color=[style.EDGE if channel == _OTHERS else style.BLUE for channel in channels],
    )
    axes.set_yticks(range(len(channels)), [names[channel] for channel in channels])
    axes.tick_params(axis="y", length=0, labelsize=_SIZE)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 1.18 * max(amounts))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g} %"))
    axes.set_xlabel(f"share of the {name}")
    for place, amount in enumerate(amounts):
        axes.annotate(
            _percent(amount), (amount, place), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=_SIZE, color=style.INK,
        )  # fmt: skip


def _labels(channels: Iterable[str], room: float, *, is_bold: bool = False) -> dict[str, str]:
    """Return a label for each channel, at most *room* points wide where they can be told apart."""
    shown = {channel: words.printable(channel) for channel in channels}

    def fits(text: str) -> bool:
        return style.text_width(text, size=_SIZE, is_bold=is_bold) <= room

    labels = fitting(shown.values(), fits)
    return {channel: labels[text] for channel, text in shown.items()}
