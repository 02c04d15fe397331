"""The D1 database that the environment names, under the names that Cloudflare's tools use."""

from __future__ import annotations

import os
from typing import Any

from core.errors import InputError
from core.query.d1 import BASE_URL, D1Database
from core.query.d1_variables import (
    ACCOUNT_VARIABLE,
    BASE_URL_VARIABLE,
    DATABASE_VARIABLE,
    TOKEN_VARIABLE,
)

_NEEDED = {
    ACCOUNT_VARIABLE: "the account's id",
    DATABASE_VARIABLE: "the id that `wrangler d1 list` shows",
    TOKEN_VARIABLE: "an API token with the permission D1 Edit",
}


def d1_from_environment(**options: Any) -> D1Database:
    """Return the database of CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_DATABASE_ID.

    The token is CLOUDFLARE_API_TOKEN. CLOUDFLARE_API_BASE_URL, if set, is asked in place of the
    platform. options: of `D1Database`. Raise InputError that names what is not set.
    """
    given = {name: os.environ.get(name, "").strip() for name in _NEEDED}
    missing = [f"{name} ({what})" for name, what in _NEEDED.items() if not given[name]]
    if missing:
        raise InputError(
            f"the environment does not name the D1 database: set {' and '.join(missing)}"
        )
    base_url = os.environ.get(BASE_URL_VARIABLE, "").strip() or BASE_URL
    return D1Database(
        given[ACCOUNT_VARIABLE], given[DATABASE_VARIABLE], given[TOKEN_VARIABLE],
        base_url=base_url, **options,
    )  # fmt: skip
