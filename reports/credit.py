"""The credit figure: what share of the conversions each channel gets, model by model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from core.attribution.account import Account
from core.attribution.bootstrap import Intervals
from core.attribution.models import DATA_DRIVEN
from reports import style, words

MOST_CHANNELS = 8
_OTHERS = "all others"
_COLOURS = (
    style.BLUE, style.RED_TEXT, style.GREEN_TEXT, style.PINK_TEXT, style.SKY_TEXT,
    style.ORANGE_TEXT, style.INK, style.ORANGE,
)  # fmt: skip
_Shares = Mapping[str, Mapping[str, float]]
"""By model and channel, the share of the conversions."""


def credit(account: Account, intervals: Intervals | None = None) -> Figure:
    """Draw each channel's share of the conversions under every model of *account*.

    Beyond MOST_CHANNELS the smaller ones are drawn together. *intervals*: of data_driven. Raise
    ValueError if nothing was attributed.
    """
    if not account.attributed or not account.rows:
        raise ValueError("no conversion was attributed")
    with style.drawing():
        title = words.wrapped(credit_finding(account), 88)
        height = 4.5 + 0.23 * title.count("\n")
        figure = Figure(figsize=(9.6, height))
        axes = figure.add_axes((0.065, 0.45 / height, 0.735, 3.2 / height))
        shares = _shares(account)
        has_others = _OTHERS in shares[account.models[0]]
        if len(account.models) == 1:
            _bars(axes, account.models[0], shares)
        else:
            _lines(axes, account, shares, _colours(shares[account.models[0]]), intervals)
        parts = [
            f"Share of {account.attributed:,.6g} conversions, "
            + ("by model." if len(account.models) > 1 else f"by {_name(account.models[0])}.")
        ]
        if len(account.models) > 1 and DATA_DRIVEN in account.models:
            parts.append("Hollow: by global removal effects.")
            if intervals is not None:
                parts.append("Bars: 95 % of resamples.")
        if has_others:
            parts.append(f"The {MOST_CHANNELS - 1} largest channels have names.")
        style.headline(figure, title, " ".join(parts))
        return figure


def credit_finding(account: Account) -> str:
    """Return in one sentence which channel depends most on the model, or leads the only one."""
    shares = _all_shares(account)
    if len(account.models) == 1:
        model = account.models[0]
        channel, share = max(shares[model].items(), key=lambda item: item[1])
        name = words.printable(channel)
        return f"{name} gets {_percent(share)} of the conversions by {_name(model)}"
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
        f"{words.printable(channel)} depends most on the model: "
        f"{_percent(shares[low][channel])} of the conversions by {_name(low)}, "
        f"{_percent(shares[high][channel])} by {_name(high)}"
    )


def undrawn(account: Account) -> list[str]:
    """Return the channels whose names have letters that the figure's font lacks."""
    channels = dict.fromkeys(row.channel for row in account.rows)
    return [name for name in map(words.printable, channels) if not style.can_draw(name)]


def _name(model: str) -> str:
    return model.replace("_", " ")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 or not share else f"{100 * share:.1f} %"


def _all_shares(account: Account) -> dict[str, dict[str, float]]:
    shares: dict[str, dict[str, float]] = {model: {} for model in account.models}
    for row in account.rows:
        shares[row.model][row.channel] = row.conversions / account.attributed
    return shares


def _shares(account: Account) -> dict[str, dict[str, float]]:
    """Return the shares of the channels that are drawn, by their mean share, the others last."""
    every = _all_shares(account)
    channels = list(every[account.models[0]])
    ranked = sorted(channels, key=lambda c: (-sum(of[c] for of in every.values()), c))
    named = ranked if len(ranked) <= MOST_CHANNELS else ranked[: MOST_CHANNELS - 1]
    shares = {model: {channel: of[channel] for channel in named} for model, of in every.items()}
    if len(named) < len(ranked):
        for model, of in every.items():
            shares[model][_OTHERS] = sum(of[channel] for channel in ranked[len(named) :])
    return shares


def _colours(channels: Iterable[str]) -> dict[str, str]:
    return {
        channel: style.EDGE if channel == _OTHERS else colour
        for channel, colour in zip(channels, _COLOURS, strict=False)
    }


def _lines(
    axes: Axes,
    account: Account,
    shares: _Shares,
    colours: Mapping[str, str],
    intervals: Intervals | None,
) -> None:
    models = account.models
    largest = max(share for of in shares.values() for share in of.values())
    removal = {
        row.channel: (row.removal_conversions or 0.0) / account.attributed
        for row in account.rows
        if row.model == DATA_DRIVEN
    }
    if removal and _OTHERS in colours:
        removal[_OTHERS] = sum(s for c, s in removal.items() if c not in colours)
    largest = max([largest, *(removal[c] for c in colours if c in removal)])
    if intervals is not None and DATA_DRIVEN in models:
        ends = zip(intervals.channels, intervals.credit[:, 1].tolist(), strict=True)
        largest = max([largest, *(end for channel, end in ends if channel in colours)])
    axes.set_xlim(-0.25, len(models) - 0.75)
    axes.set_ylim(0, 1.08 * largest)
    axes.set_xticks(range(len(models)), [_name(model) for model in models])
    axes.tick_params(axis="x", length=0, labelsize=8.5)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g} %"))
    axes.set_ylabel("share of the conversions")
    labels = []
    for channel, colour in colours.items():
        points = [shares[model][channel] for model in models]
        # Models have no order: the thin line only leads the eye from one dot to the next.
        axes.plot(range(len(models)), points, color=colour, lw=1.0, alpha=0.55, zorder=2)
        axes.plot(range(len(models)), points, "o", color=colour, ms=5, zorder=3, clip_on=False)
        if channel in removal:
            axes.plot(
                models.index(DATA_DRIVEN) + 0.09, removal[channel], "D", ms=4.5, mew=1.2,
                mfc=style.PAPER, mec=colour, zorder=3, clip_on=False,
            )  # fmt: skip
        if intervals is not None and DATA_DRIVEN in models and channel in intervals.channels:
            low, high = intervals.credit[intervals.channels.index(channel)]
            axes.vlines(models.index(DATA_DRIVEN), low, high, color=colour, lw=2.6, alpha=0.5)
        if colour == style.EDGE:
            colour = style.MUTED
        text = f"{_short(channel)}  {_percent(points[-1])}"
        labels.append(style.EndLabel(x=axes.get_xlim()[1], y=points[-1], text=text, colour=colour))
    style.end_labels(axes, labels, size=8.5)


def _bars(axes: Axes, model: str, shares: _Shares) -> None:
    channels = list(shares[model])[::-1]
    amounts = [shares[model][channel] for channel in channels]
    axes.barh(
        range(len(channels)),
        amounts,
        height=0.62,
        color=[style.EDGE if channel == _OTHERS else style.BLUE for channel in channels],
    )
    axes.set_yticks(range(len(channels)), [_short(channel) for channel in channels])
    axes.tick_params(axis="y", length=0, labelsize=8.5)
    axes.set_position((0.2, axes.get_position().y0, 0.7, axes.get_position().height))
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 1.12 * max(amounts))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g} %"))
    axes.set_xlabel("share of the conversions")
    for place, amount in enumerate(amounts):
        axes.annotate(
            _percent(amount), (amount, place), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=8.5, color=style.INK,
        )  # fmt: skip


def _short(channel: str) -> str:
    channel = words.printable(channel)
    return channel if len(channel) <= 20 else f"{channel[:19]}…"
