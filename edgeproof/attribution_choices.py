"""What the options of `edgeproof attribute` mean, and which of them go together."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from core.attribution.model import Model
from core.attribution.models import BUILT_IN
from core.attribution.parameters import DirectRule
from core.errors import InputError
from core.units import parse_duration

_OF_EVENTS = (
    "--from", "--to", "--by", "--lookback", "--half-life", "--lead", "--opportunity", "--own-event",
    "--jobs",
)  # fmt: skip
_OF_PATHS = (
    "--joiner", "--path-column", "--conversions-column", "--value-column", "--nulls-column",
    "--count-column", "--direct-channel",
)  # fmt: skip
_SETS = {
    "--half-life": "half_life_ms",
    "--u-shape": "u_shape",
    "--w-shape": "w_shape",
    "--lead": "milestones",
    "--opportunity": "milestones",
}
"""Options that set a parameter which not every model uses: without effect if none chosen does."""

_OF_FITS = ("--order", "--without-nulls", "--min-conversions", "--bootstrap", "--most-channels")

_DIRECT: dict[str, DirectRule] = {"own": "own channel", "ignore": "ignore unless all direct"}


def given_options(context: typer.Context) -> list[str]:
    """Return the options that the command line gives."""
    given = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            given.append(parameter.opts[0])
    return given


def check_source(asked: Sequence[str], *, has_paths: bool) -> None:
    """Raise InputError for an option of *asked* that the kind of data does not have."""
    for name in asked:
        if has_paths and name in _OF_EVENTS:
            raise InputError(f"{name} needs --db: aggregated paths have no events or times")
        if not has_paths and name in _OF_PATHS:
            raise InputError(f"{name} needs --paths: the touches of a database are rows")


def check_models(asked: Sequence[str], models: Sequence[Model]) -> None:
    """Raise InputError for an option of *asked* that none of the chosen *models* uses."""
    for name in asked:
        if name in _OF_FITS:
            users = [each for each in (*BUILT_IN.values(), *models) if each.needs_weights]
        elif name in _SETS:
            every = (*BUILT_IN.values(), *models)
            users = [each for each in every if _SETS[name] in each.parameters]
        else:
            continue
        if models and not any(user in models for user in users):
            raise InputError(
                f"{name} has no effect: only {users[0].name} uses it, and --model chooses "
                f"{', '.join(each.name for each in models)}"
            )


def direct_rule(text: str) -> DirectRule:
    """Return the rule that --direct names; InputError if it names none."""
    if text not in _DIRECT:
        raise InputError(f"--direct {text}: use own or ignore")
    return _DIRECT[text]


def milliseconds(name: str, text: str) -> int:
    """Return the duration *text* of the option *name*; InputError if it is none."""
    try:
        return round(parse_duration(text) * 1000)
    except ValueError as error:
        raise InputError(f"{name} {error}") from None


def order_of(text: str) -> int:
    """Return the order that --order gives, 1 for auto; InputError if it gives none."""
    if text not in ("1", "2", "3", "auto"):
        raise InputError(f"--order {text[:40]}: use 1, 2, 3 or auto")
    return 1 if text == "auto" else int(text)


def percentages(name: str, text: str, count: int) -> tuple[float, ...]:
    """Return the *count* percentages in *text* as shares; InputError if they are none."""
    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError:
        numbers = []
    total = sum(numbers)
    if len(numbers) != count or not abs(total - 100) <= 1e-9 or min(numbers) < 0:
        raise InputError(
            f"{name} {text[:40]}: {count} percentages of at least 0 that sum to 100 are needed, "
            f"such as {'40/20/40' if count == 3 else '30/30/30/10'}"
        )
    return tuple(number / 100 for number in numbers)
