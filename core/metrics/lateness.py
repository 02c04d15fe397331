"""Whether a load generator sent too many requests late, or too few were sent to say so."""

from __future__ import annotations

MAX_LATE = 0.01
"""Share of the requests that may be sent late."""
CONFIDENCE = 0.95


def is_too_late(late: int, sent: int) -> bool:
    """Return whether more than MAX_LATE of the requests go out late, at CONFIDENCE.

    The share is above the limit where that many late ones among *sent* would be met in less than
    1 - CONFIDENCE of runs whose share is at the limit (the lower bound of Clopper and Pearson, "The
    Use of Confidence or Fiducial Limits", 1934). One of 60 is no evidence, 3 of 60 are.
    """
    if late <= MAX_LATE * sent:
        return False
    from scipy.special import bdtrc  # slow to import, rarely needed

    return float(bdtrc(late - 1, sent, MAX_LATE)) < 1 - CONFIDENCE
