"""Whether an optional module can be imported here, and why not.

It imports nothing but the standard library: `bench.attribution_peer` runs it in environments that
hold other libraries.
"""

from __future__ import annotations

import importlib

NOT_INSTALLED = "not installed"


def import_fault(module: str) -> str:
    """Return why *module* cannot be imported: NOT_INSTALLED, or its import's error; "" if it can.

    A missing module is distinguished from one whose own imports are missing.
    """
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            return NOT_INSTALLED
        return f"installed, but its import fails: {error}; install {error.name or 'it'}, too"
    except Exception as error:  # a foreign module may raise whatever it likes
        return f"installed, but its import fails: {type(error).__name__}: {error}"
    return ""
