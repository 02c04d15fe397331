"""An attribution model: one description, for one journey and, if worthwhile, for many."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from core.attribution.parameters import Parameters
from core.errors import InputError

if TYPE_CHECKING:  # they need NumPy, which the plain forms do not
    from core.attribution.paths import Floats
    from core.attribution.vectorised import Converting

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SLACK = 1e-9


@dataclass(slots=True, kw_only=True)  # not frozen: one is made for each conversion
class Touches:
    """The touches of one journey that a model shares credit over, two or more, oldest first.

    times_ms: epoch milliseconds, ascending; empty if unknown. channels: of the touches. lead,
    opportunity: positions of the touches that events mark, None for none. weights: the removal
    effects of the channels, for a model that needs them.
    """

    times_ms: Sequence[int]
    channels: Sequence[str]
    parameters: Parameters
    lead: int | None = None
    opportunity: int | None = None
    weights: Sequence[float] = ()

    def __len__(self) -> int:
        return len(self.channels)


Credits = Callable[[Touches], Sequence[float]]
Vectorised = Callable[["Converting", Parameters, "Floats | None"], "Floats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model: its name, its summary, and the credits that it gives.

    credits: of each touch of one journey of two or more; they sum to 1. A single touch gets all.
    vectorised: the same for the touches of many paths in NumPy; None: journey by journey. Its third
    argument holds the removal effect of each channel, None without a fit. parameters: those of
    `Parameters` that it uses. needs_times: whether it is left out if touches have no times.
    needs_weights: whether removal effects have to be fitted for it. The functions of a custom model
    hold its settings, as in `functools.partial(credits, share=0.3)`.

    Raise ValueError for an invalid name.
    """

    name: str
    title: str
    credits: Credits
    vectorised: Vectorised | None = None
    parameters: tuple[str, ...] = ()
    needs_times: bool = False
    needs_weights: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"model {self.name[:40]!r} cannot be named so; use a to z, digits and _, a letter "
                "first"
            )

    def shares(self, touches: Touches) -> tuple[float, ...]:
        """Return the credits of *touches*; InputError if they are not whole shares of one."""
        count = len(touches)
        if count <= 1:
            return (1.0,) * count
        credits = tuple(map(float, self.credits(touches)))
        total = math.fsum(credits)
        if len(credits) != count or not abs(total - 1) <= _SLACK or min(credits) < 0:
            raise InputError(
                f"model {self.name} gives {len(credits)} credits with the sum {total:g} for "
                f"{count} touches; a model gives each touch a credit of at least 0, and 1 together"
            )
        return credits


def function_name(credits: Credits) -> str:
    """Return the name of the function *credits*, for messages."""
    function = credits.func if isinstance(credits, partial) else credits
    return getattr(function, "__qualname__", repr(function))
