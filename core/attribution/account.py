"""The account of a set of paths: the credit of each channel under each model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.attribution.fitted import MIN_CONVERSIONS, FittedModel, fit
from core.attribution.fused import Credit, Engine, share_credit
from core.attribution.model import Model
from core.attribution.models import BUILT_IN, DATA_DRIVEN, known_model
from core.attribution.names import alike_notice, direct_notice, is_absent
from core.attribution.parameters import OTHER, Parameters
from core.attribution.paths import Floats, Paths, merged_channels, under_direct_rule
from core.attribution.transitions import Transitions, count_transitions
from core.errors import InputError
from core.texts import count_of

WITHOUT_TIMES = "{} is left out: the paths have no times"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRow:
    """The credit of one channel under one model.

    removal_conversions, removal_value: of data_driven, the totals shared out by the global
    removal effects instead of path by path; None for the other models. removal_value is also None
    where a channel has a negative effect on the value, because of refunds.
    """

    model: str
    channel: str
    conversions: float
    value: float
    removal_conversions: float | None = None
    removal_value: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON data."""
        data: dict[str, Any] = {
            "model": self.model,
            "channel": self.channel,
            "conversions": self.conversions,
            "value": self.value,
        }
        if self.removal_conversions is not None:
            data["removal_conversions"] = self.removal_conversions
            data["removal_value"] = self.removal_value
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ChannelRow:
        """Return the row of `to_json`."""
        removal = (data.get("removal_conversions"), data.get("removal_value"))
        return cls(
            model=str(data["model"]),
            channel=str(data["channel"]),
            conversions=float(data["conversions"]),
            value=float(data["value"]),
            removal_conversions=None if removal[0] is None else float(removal[0]),
            removal_value=None if removal[1] is None else float(removal[1]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The credit of channels under models, and the data behind it.

    rows: by model as asked for, the channel with most conversions first. attributed, value: the
    conversions with a touch and their value, which every model shares out whole; untouched,
    untouched_value: those without one, which go to no channel. notices: for the reader.
    """

    parameters: Parameters
    models: tuple[str, ...]
    rows: tuple[ChannelRow, ...]
    attributed: float
    value: float
    untouched: float
    untouched_value: float
    fitted: FittedModel | None
    notices: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the account as JSON data."""
        return {
            "rows": [row.to_json() for row in self.rows],
            "conversions": self.attributed,
            "value": self.value,
            "conversions_without_touch": self.untouched,
            "value_without_touch": self.untouched_value,
            "parameters": self.parameters.to_json(),
            "parameters_key": self.parameters.key(),
            "fitted": None if self.fitted is None else self.fitted.to_json(),
            "notices": list(self.notices),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], models: tuple[str, ...]) -> Account:
        """Return the account of `to_json` under *models*; KeyError, TypeError if it is none."""
        fitted = data["fitted"]
        return cls(
            parameters=Parameters.from_json(data["parameters"]),
            models=models,
            rows=tuple(map(ChannelRow.from_json, data["rows"])),
            attributed=float(data["conversions"]),
            value=float(data["value"]),
            untouched=float(data["conversions_without_touch"]),
            untouched_value=float(data["value_without_touch"]),
            fitted=None if fitted is None else FittedModel.from_json(fitted),
            notices=tuple(map(str, data["notices"])),
        )


def chosen_models(
    asked: Sequence[str | Model], *, has_times: bool
) -> tuple[tuple[Model, ...], list[str]]:
    """Return the models *asked* for, the seven if there are none, and notices about them.

    Raise InputError for an unknown model, one named twice, or one that needs times if there are
    none.
    """
    models = [known_model(model) for model in asked]
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"model {name} is named twice; name each once")
    said = [f"{model.name}: {model.title}" for model in models if model.name not in BUILT_IN]
    if has_times:
        return tuple(models or BUILT_IN.values()), said
    timeless = [model for model in BUILT_IN.values() if not model.needs_times]
    for model in models:
        if model.needs_times:
            others = ", ".join(model.name for model in timeless)
            raise InputError(
                f"model {model.name} needs times, which aggregated paths do not have; use {others}"
            )
    if models:
        return tuple(models), said
    left_out = [model.name for model in BUILT_IN.values() if model.needs_times]
    return tuple(timeless), [WITHOUT_TIMES.format(" and ".join(left_out))]


def own_ones(models: Sequence[Model]) -> tuple[Model, ...]:
    """Return those of *models* that are not among the seven."""
    return tuple(model for model in models if model.name not in BUILT_IN)


def attribute(
    paths: Paths, parameters: Parameters | None = None, *, models: Sequence[str | Model] = ()
) -> Account:
    """Return the account of *paths* under *models* (default: those of the seven that they allow).

    models: names of the seven, and custom models. parameters: of the models, by default their own
    defaults. Raise InputError for models that cannot be used.
    """
    return account_of(paths, parameters or Parameters(), models=models)


def account_of(
    paths: Paths,
    parameters: Parameters,
    *,
    models: Sequence[str | Model] = (),
    with_nulls: bool = True,
    minimum: int = MIN_CONVERSIONS,
    most: int | None = None,
    fitted: FittedModel | None = None,
    engine: Engine = "auto",
) -> Account:
    """Return the account of *paths* under *models*, by default all that they allow.

    Without *with_nulls* data_driven is fitted on the paths that converted only; *most* is that of
    `fit`. *fitted*: a model of other paths, instead of one of these. Raise InputError for models
    that cannot be used.
    """
    chosen, notices = chosen_models(models, has_times=paths.times_ms is not None)
    if not any(model.needs_weights for model in chosen):
        fitted = None
    elif fitted is None:
        seen = transitions_of(paths, parameters, with_nulls=with_nulls)
        fitted = fit(
            seen, parameters, window=time_window(paths), minimum=minimum, most=most
        )  # fmt: skip
    credit = share_credit(
        paths, parameters,
        weights=None if fitted is None else fitted.weights_of(paths.channels), engine=engine,
        own=own_ones(chosen),
    )  # fmt: skip
    names = [model.name for model in chosen]
    return account_from([credit], names, parameters, fitted, notices)


def transitions_of(paths: Paths, parameters: Parameters, *, with_nulls: bool = True) -> Transitions:
    """Return the transitions that the model of *parameters* is fitted on."""
    seen = under_direct_rule(paths, parameters.direct)
    if (seen.conversions < 0).any():  # a chain counts walks, and corrections are none
        seen = replace(seen, conversions=np.maximum(seen.conversions, 0.0))
    if not with_nulls:
        seen = replace(seen, nulls=np.zeros(len(seen)))
    return count_transitions(seen, parameters.order)


def time_window(paths: Paths) -> tuple[int, int] | None:
    """Return the times of the earliest and the latest touch, None if there are none."""
    if paths.times_ms is None or not len(paths.times_ms):
        return None
    return int(paths.times_ms.min()), int(paths.times_ms.max())


def account_from(
    credits: Iterable[Credit],
    models: Sequence[str],
    parameters: Parameters,
    fitted: FittedModel | None,
    notices: Sequence[str] = (),
) -> Account:
    """Return the account of all *credits* together, added up in their order."""
    parts = list(credits)
    channels, places = merged_channels([part.channels for part in parts])
    totals = np.zeros((2, len(models), len(channels)))
    for part, place in zip(parts, places, strict=True):
        columns = [part.models.index(model) for model in models]
        for total, own in zip(totals, (part.conversions, part.values), strict=True):
            total[:, place] += own[columns]
    attributed, value = _sum(parts, "attributed"), _sum(parts, "attributed_value")
    untouched = _sum(parts, "untouched")
    said = list(notices)
    if untouched:
        have = "conversion has no touch and goes", "conversions have no touch and go"
        said.append(f"{count_of(untouched, *have)} to no channel")
    # A channel of the data may also have the name of the rest, with no channel merged into it.
    named = () if fitted is None or OTHER not in fitted.weights else fitted.weights
    if named and (rare := sum(channel not in named for channel in channels)):
        too = ", and with them the data's own channel of that name" if OTHER in channels else ""
        said.append(
            f"data_driven takes {rare:,} rare channels as one, {OTHER}, where their removal "
            f"figures stand{too}"
        )
    if marks := [channel for channel in channels if is_absent(channel)]:
        said.append(f"a touch of {marks[0]!r}, as tools write for nothing, counts as a channel's")
    if notice := alike_notice(channels):
        said.append(notice)
    if notice := direct_notice(channels, ignores=parameters.direct != "own channel"):
        said.append(notice)
    if fitted is not None and fitted.fallback:
        said.append(fitted.fallback)
    if fitted is not None and (harmful := _harmful(fitted)):
        said.append(
            "removal_value is left out: it needs paths whose value is at least 0 together for "
            f"every channel, and without {harmful[0]!r} there would be more value"
        )
    return Account(
        parameters=parameters,
        models=tuple(models),
        rows=tuple(_rows(models, channels, totals, attributed, value, fitted)),
        attributed=attributed,
        value=value,
        untouched=untouched,
        untouched_value=_sum(parts, "untouched_value"),
        fitted=fitted,
        notices=tuple(said),
    )


def _sum(parts: Sequence[Credit], name: str) -> float:
    total = 0.0
    for part in parts:
        total += getattr(part, name)
    return total


def _rows(
    models: Sequence[str],
    channels: Sequence[str],
    totals: Floats,
    attributed: float,
    value: float,
    fitted: FittedModel | None,
) -> Iterable[ChannelRow]:
    for model, conversions, values in zip(models, totals[0], totals[1], strict=True):
        removal: dict[str, float] = {}
        removal_value: dict[str, float] = {}
        if model == DATA_DRIVEN and fitted is not None:
            removal = fitted.shared_out(attributed)
            if not _harmful(fitted):
                removal_value = fitted.shared_out(value, by_value=True)
            if (rest := removal.get(OTHER)) is not None and OTHER not in channels:
                yield ChannelRow(
                    model=model, channel=OTHER, conversions=0.0, value=0.0,
                    removal_conversions=rest, removal_value=removal_value.get(OTHER),
                )  # fmt: skip
        order = sorted(range(len(channels)), key=lambda i: (-conversions[i], channels[i]))
        for i in order:
            yield ChannelRow(
                model=model,
                channel=channels[i],
                conversions=float(conversions[i]),
                value=float(values[i]),
                removal_conversions=removal.get(channels[i], 0.0) if removal else None,
                removal_value=removal_value.get(channels[i], 0.0) if removal_value else None,
            )


def _harmful(fitted: FittedModel) -> list[str]:
    """Return the channels without which there would be more value, as refunds can make it."""
    return [channel for channel, weight in fitted.value_weights.items() if weight < 0]
