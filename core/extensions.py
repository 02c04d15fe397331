"""What installed packages add to edgeproof, found through their entry points."""

from __future__ import annotations

from typing import Any

from core.errors import InputError


def installed_names(group: str) -> tuple[str, ...]:
    """Return the names that installed packages give in the entry point group *group*, sorted."""
    return tuple(sorted({point.name for point in _points(group)}))


def installed(group: str, name: str) -> Any:
    """Return the object behind the entry point *name* of *group*; None if there is none.

    Raise InputError if two packages give different ones, and if it cannot be imported.
    """
    found = {point.value: point for point in _points(group) if point.name == name}
    if not found:
        return None
    if len(found) > 1:
        raise InputError(
            f"the entry point {name!r} of {group} stands for {' and for '.join(sorted(found))}; "
            "uninstall one of the packages"
        )
    (point,) = found.values()
    try:
        return point.load()
    # Whatever a foreign module raises while it is imported.
    except Exception as error:
        raise InputError(
            f"the entry point {name!r} of {group} ({point.value}) cannot be imported "
            f"({type(error).__name__}: {error}); mend or uninstall its package"
        ) from error


def _points(group: str) -> Any:
    from importlib.metadata import entry_points  # slow to import, and seldom needed

    return entry_points(group=group)
