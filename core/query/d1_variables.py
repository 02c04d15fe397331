"""The names of the environment's variables for a D1 database, as Cloudflare's tools have them."""

from __future__ import annotations

import os

ACCOUNT_VARIABLE = "CLOUDFLARE_ACCOUNT_ID"
DATABASE_VARIABLE = "CLOUDFLARE_DATABASE_ID"
TOKEN_VARIABLE = "CLOUDFLARE_API_TOKEN"  # the name of the variable, not a token
BASE_URL_VARIABLE = "CLOUDFLARE_API_BASE_URL"


def database_id() -> str:
    """Return the id of the database, "" if the environment names none."""
    return os.environ.get(DATABASE_VARIABLE, "").strip()
