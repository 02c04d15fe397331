"""What a row of a file of events holds, and the forms of such files."""

from __future__ import annotations

from typing import Any, Literal

Form = Literal["csv", "tsv", "ndjson", "parquet"]
FORMS: tuple[Form, ...] = ("csv", "tsv", "ndjson", "parquet")

Cells = tuple[Any, ...]
"""A row's cells in the order of FIELDS; "" or None where it has none."""
