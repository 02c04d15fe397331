"""Cache keys: a cache type and its parts, escaped so that no input can reach another key."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

MAX_KEY_BYTES = 512
"""The longest key that the edge key-value store takes (platform limits, 2026)."""
KEPT_CHARACTERS = MAX_KEY_BYTES - 65
"""Of a longer key: what it begins with, in front of '~' and the 64 digits of its digest."""


def cache_key(kind: str, *parts: str) -> str:
    """Return "kind:part:part" with each part escaped; a long key ends in a digest of itself.

    ':' separates and '*' is a wildcard in invalidation, so both are escaped like everything that
    is not plain ASCII; so is '~', or a part could spell the digest of a long key.
    """
    if len(parts) == 1 and parts[0].isalnum() and parts[0].isascii() and len(parts[0]) < 256:
        return f"{kind}:{parts[0]}"  # nearly every key
    key = kind
    for part in parts:
        plain = part.isalnum() and part.isascii()
        key += ":" + (part if plain else quote(part, safe="").replace("~", "%7E"))
    if len(key) <= MAX_KEY_BYTES:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"{key[:KEPT_CHARACTERS]}~{digest}"
