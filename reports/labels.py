"""Names that are shortened to the room that there is, and still told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

_HEADS = (0.5, 0.75, 0.25, 1.0, 0.0)  # shares of what is kept that stand before the cut
_LONGEST = 200  # letters of which a cut is sought; no room holds more
CUT = "…"


def shortened(text: str, kept: int, head: float = 0.5) -> str:
    """Return *text* with at most *kept* of its letters, the share *head* of them from its start."""
    if len(text) <= kept:
        return text
    first = round(kept * head)
    return f"{text[:first]}{CUT}{text[len(text) - (kept - first) :]}"


def fitting(names: Collection[str], fits: Callable[[str], bool]) -> dict[str, str]:
    """Return a label for each of *names* that *fits*, no two the same.

    What does not fit is cut in its middle, or elsewhere where that leaves equal labels; names that
    no cut tells apart are numbered, and may not fit then.
    """
    labels = {name: name for name in names if fits(name)}
    left = [name for name in dict.fromkeys(names) if name not in labels]
    for head in _HEADS:
        cuts = {name: _longest_cut(name, fits, head) for name in left}
        times = Counter((*labels.values(), *cuts.values()))
        labels |= {name: cut for name, cut in cuts.items() if times[cut] == 1}
        left = [name for name in left if name not in labels]
    taken = set(labels.values())
    for name in left:
        cut = _longest_cut(name, lambda text: fits(f"{text} (99)"), _HEADS[0])
        number = next(n for n in range(1, len(taken) + 2) if f"{cut} ({n})" not in taken)
        labels[name] = f"{cut} ({number})"
        taken.add(labels[name])
    return labels


def _longest_cut(name: str, fits: Callable[[str], bool], head: float) -> str:
    for kept in range(min(len(name) - 1, _LONGEST), 1, -1):
        cut = shortened(name, kept, head)
        if fits(cut):
            return cut
    return shortened(name, 1, head)
