"""Credits of every model in one pass over flat arrays, in NumPy or compiled."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np

from core.attribution.model import Model, Touches
from core.attribution.models import BUILT_IN
from core.attribution.parameters import Parameters
from core.attribution.paths import Floats, Paths, under_direct_rule
from core.attribution.vectorised import Converting
from core.errors import InputError

Engine = Literal["auto", "numpy", "numba"]

RELATIVE_ERROR = 1e-12
"""The largest difference of two engines: they differ in the last bit of a power of two."""

_SLACK = 1e-9  # largest deviation from 1 of the sum of a path's credits

_WORTH_COMPILED = 5_000_000  # touches; below, NumPy is done before numba is loaded


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Credit:
    """The credit of channels under each model.

    conversions, values: shape (models, channels). attributed: conversions of paths with a touch;
    their value; untouched: conversions of paths without one, which go to no channel. credits:
    shape (touches, models) of `paths`, the paths under the direct rule, if they were kept; rows of
    paths that did not convert are 0.
    """

    channels: tuple[str, ...]
    models: tuple[str, ...]
    conversions: Floats
    values: Floats
    attributed: float
    attributed_value: float
    untouched: float
    untouched_value: float
    credits: Floats | None = None
    paths: Paths | None = None


def has_numba() -> bool:
    """Return whether numba can be used; load it if it is installed."""
    return numba_fault() == ""


def numba_fault() -> str:
    """Return why numba cannot be used: it is not installed, or its import fails; "" if it can."""
    if find_spec("numba") is None:
        return "not installed"
    try:
        importlib.import_module("numba")
    except ImportError as error:  # for example, with a NumPy that it does not support
        return f"installed, but its import fails: {error}"
    return ""


def chosen_engine(engine: Engine, touches: int) -> Literal["numpy", "numba"]:
    """Return which engine computes *touches*; InputError if numba is asked for and not there."""
    if engine == "numba" and (fault := numba_fault()):
        raise InputError(f"numba is {fault}; install it, or use the engine numpy")
    if engine != "auto":
        return engine
    is_ready = "numba" in sys.modules or touches >= _WORTH_COMPILED
    return "numba" if is_ready and has_numba() else "numpy"


def share_credit(
    paths: Paths,
    parameters: Parameters,
    *,
    weights: Floats | None = None,
    keep: bool = False,
    engine: Engine = "auto",
    own: Sequence[Model] = (),
) -> Credit:
    """Return the credit of every model that *paths* allow, the seven in one pass, then *own* ones.

    Without times, models that need them are left out; without *weights*, the removal effects of the
    channels, data_driven is. Per channel and model, the totals are the sums over the touches in
    their order. With *keep* the credit of every touch is kept too. Engines agree within
    RELATIVE_ERROR; custom models are computed in NumPy, or path by path, whatever the engine.
    """
    if weights is not None and len(weights) != len(paths.channels):
        raise ValueError("one weight per channel is needed")
    paths = under_direct_rule(paths, parameters.direct)
    rest = (*_NOT_COMPILED, *own)
    models = (*_COMPILED, *rest)
    if chosen_engine(engine, len(paths.codes)) == "numba":
        from core.attribution.compiled import seven_models

        totals, credits = seven_models(paths, parameters, weights, keep=keep)
        if rest:
            more, kept = _one_by_one(rest, paths, parameters, weights, keep=keep)
            totals = np.concatenate((totals, more), axis=1)
            if credits is not None and kept is not None:
                credits = np.concatenate((credits, kept), axis=1)
    else:
        totals, credits = _one_by_one(models, paths, parameters, weights, keep=keep)
    has_touch = paths.lengths > 0
    columns = [column for column, model in enumerate(models) if _is_possible(model, paths, weights)]
    is_complete = len(columns) == len(models)
    return Credit(
        channels=paths.channels,
        models=tuple(models[column].name for column in columns),
        conversions=totals[0, columns],
        values=totals[1, columns],
        attributed=float(paths.conversions[has_touch].sum()),
        attributed_value=float(paths.values[has_touch].sum()),
        untouched=float(paths.conversions[~has_touch].sum()),
        untouched_value=float(paths.values[~has_touch].sum()),
        credits=credits if credits is None or is_complete else credits[:, columns],
        paths=paths if keep else None,
    )


_COMPILED = tuple(BUILT_IN[name] for name in (
    "last_click", "first_click", "linear", "time_decay", "u_shape", "w_shape", "data_driven",
))  # fmt: skip
"""The models of the compiled pass, in the order of its columns."""

_NOT_COMPILED = tuple(model for model in BUILT_IN.values() if model not in _COMPILED)


def _is_possible(model: Model, paths: Paths, weights: Floats | None) -> bool:
    if model.needs_times and paths.times_ms is None:
        return False
    return not model.needs_weights or weights is not None


def _one_by_one(
    models: Sequence[Model],
    paths: Paths,
    parameters: Parameters,
    weights: Floats | None,
    *,
    keep: bool,
) -> tuple[Floats, Floats | None]:
    """Return totals of shape (2, models, channels) and credits of shape (touches, models)."""
    chosen = Converting(paths)
    totals = np.zeros((2, len(models), len(paths.channels)))
    kept = np.zeros((len(paths.codes), len(models))) if keep else None
    if not len(chosen.codes):
        return totals, kept
    conversions = np.repeat(chosen.conversions, chosen.lengths)
    values = np.repeat(chosen.values, chosen.lengths)
    for number, model in enumerate(models):
        if not _is_possible(model, paths, weights):
            continue
        if model.name in ("last_click", "first_click"):  # one touch a path needs no products
            ends = chosen.last if model.name == "last_click" else chosen.first
            codes, shares = chosen.codes[ends], (chosen.conversions, chosen.values)
            if kept is not None:
                kept[ends if chosen.touches is None else chosen.touches[ends], number] = 1.0
        else:
            credits = credits_of(model, chosen, paths.channels, parameters, weights)
            codes, shares = chosen.codes, (credits * conversions, credits * values)
            if kept is not None:
                kept[slice(None) if chosen.touches is None else chosen.touches, number] = credits
        for kind, amounts in enumerate(shares):
            totals[kind, number] = np.bincount(
                codes, weights=amounts, minlength=len(paths.channels)
            )
    return totals, kept


def credits_of(
    model: Model,
    chosen: Converting,
    channels: Sequence[str],
    parameters: Parameters,
    weights: Floats | None,
) -> Floats:
    """Return the credit of each touch of *chosen* under *model*, in its fastest form.

    Raise InputError if a custom model does not share out each path whole.
    """
    if model.vectorised is None:
        return path_by_path(model, chosen, channels, parameters, weights)
    credits = model.vectorised(chosen, parameters, weights)
    if model.name in BUILT_IN:
        return credits
    credits = np.asarray(credits, dtype=np.float64)
    if credits.shape != chosen.codes.shape:
        raise InputError(
            f"model {model.name} gives {credits.size:,} credits for {len(chosen.codes):,} touches; "
            "its vectorised form returns one for each"
        )
    sums = np.bincount(chosen.owner, weights=credits, minlength=len(chosen.lengths))
    if not (np.all(np.abs(sums - 1) <= _SLACK) and np.all(credits >= 0)):
        raise InputError(
            f"model {model.name} does not share out each path whole; its vectorised form gives "
            "each touch a credit of at least 0, and 1 together"
        )
    return credits


def path_by_path(
    model: Model,
    chosen: Converting,
    channels: Sequence[str],
    parameters: Parameters,
    weights: Floats | None,
) -> Floats:
    """Return the credit of each touch of *chosen* by the plain form of *model*."""
    names = [channels[code] for code in chosen.codes.tolist()]
    times = [] if chosen.times is None else chosen.times.tolist()
    effects = [] if weights is None else weights[chosen.codes].tolist()
    nowhere = [-1] * len(chosen.lengths)
    leads = nowhere if chosen.lead is None else chosen.lead.tolist()
    opportunities = nowhere if chosen.opportunity is None else chosen.opportunity.tolist()
    found: list[float] = []
    for start, length, lead, opportunity in zip(
        chosen.first.tolist(), chosen.lengths.tolist(), leads, opportunities, strict=True
    ):
        end = start + length
        touches = Touches(
            times_ms=times[start:end], channels=names[start:end], parameters=parameters,
            lead=None if lead < 0 else lead,
            opportunity=None if opportunity < 0 else opportunity,
            weights=effects[start:end],
        )  # fmt: skip
        found += model.shares(touches)
    return np.array(found)
