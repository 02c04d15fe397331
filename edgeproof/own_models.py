"""Attribution models of installed packages, by their entry points."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from core.attribution.model import Model
from core.attribution.models import BUILT_IN, MODELS
from core.errors import InputError

GROUP = "edgeproof.attribution_models"
"""The group of entry points: a package's NAME = "module:MODEL" offers the model NAME."""


def resolved(names: Sequence[str]) -> list[Model]:
    """Return the models *names*: of the seven, or of an installed package.

    Packages are looked through only for a name that is none of the seven. Raise InputError that
    lists the known ones for an unknown name, and for an entry point that gives no such model.
    """
    if all(name in BUILT_IN for name in names):
        return [BUILT_IN[name] for name in names]
    installed = {point.name: point for point in entry_points(group=GROUP)}
    found = []
    for name in names:
        if name in BUILT_IN:
            found.append(BUILT_IN[name])
        elif name in installed:
            found.append(_loaded(installed[name]))
        else:
            known = (*MODELS, *sorted(installed.keys() - BUILT_IN.keys()))
            raise InputError(f"model is {name[:40]!r}; use one of {', '.join(known)}")
    return found


def _loaded(point: EntryPoint) -> Model:
    place, remedy = (
        f"model {point.name}: the entry point {point.value}",
        "mend or remove its package",
    )
    try:
        model = point.load()
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"{place} cannot be loaded ({error}); mend or remove its package"
        ) from None
    if not isinstance(model, Model) or model.name != point.name:
        raise InputError(f"{place} is no core.attribution.Model of that name; {remedy}")
    return model
