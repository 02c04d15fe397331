"""Fitted models as rows of the database."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from core.attribution.fitted import FittedModel
from core.attribution.parameters import Parameters
from core.attribution.scheme import Scheme
from core.query import statements


def row_of(model: FittedModel, now_ms: int) -> tuple[Any, ...]:
    """Return the row of a fitted model as INSERT_MODEL takes it, its JSON last."""
    return (
        now_ms, *(model.window or (now_ms, now_ms)), model.parameters.order,
        json.dumps(model.parameters.to_json()), json.dumps(model.to_json()),
    )  # fmt: skip


def keep_model(connection: sqlite3.Connection, model: FittedModel, now_ms: int) -> int:
    """Store *model* with the database; return its number there."""
    row = row_of(model, now_ms)
    number: int = connection.execute(statements.INSERT_MODEL.sql, row).fetchone()[0]
    return number


def newest_row(connection: sqlite3.Connection) -> tuple[int, str] | None:
    """Return the number and the JSON of the model stored last, None if there is none."""
    row: tuple[int, str] | None = connection.execute(statements.NEWER_MODEL.sql, (0,)).fetchone()
    return row


def stored_scheme(connection: sqlite3.Connection, parameters: Parameters) -> Scheme:
    """Return the scheme that a process starts with: *parameters*, and the model stored last."""
    return Scheme(parameters, newest_row(connection))
