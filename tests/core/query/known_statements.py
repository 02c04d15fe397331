"""Every statement that the code runs, by its name."""

from __future__ import annotations

from core.query import queue_statements, scan_statements, statements
from core.query.statement import Statement

MODULES = (statements, queue_statements, scan_statements)
STATEMENTS = {
    value.name: value
    for module in MODULES
    for value in vars(module).values()
    if isinstance(value, Statement)
}
