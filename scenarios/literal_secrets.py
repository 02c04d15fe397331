"""Secrets that a scenario file holds in the clear, in queries and bodies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from core.scenario.endpoint_tables import PLACEHOLDER
from core.scenario.scenario import Scenario
from core.secrets import is_secret_name


def literal_secrets(scenario: Scenario) -> list[str]:
    """Return where queries and bodies of *scenario* hold what its name calls a secret."""
    found = []
    for name in scenario.endpoints.names:
        target = scenario.targets.of(name)
        pairs = parse_qsl(target.path.partition("?")[2])
        found += [f"endpoints.{name}.query.{key}" for key, text in pairs if _is_secret(key, text)]
        with suppress(ValueError):
            body = json.loads(target.body or "")
            found += [f"endpoints.{name}.body.{key}" for key in _secret_keys(body)]
    return found


def _secret_keys(body: Any) -> Iterator[str]:
    if isinstance(body, list):
        for each in body:
            yield from _secret_keys(each)
    if isinstance(body, dict):
        for key, value in body.items():
            if isinstance(value, str) and _is_secret(key, value):
                yield key
            yield from (f"{key}.{inner}" for inner in _secret_keys(value))


def _is_secret(name: str, text: str) -> bool:
    return bool(text) and is_secret_name(name) and not PLACEHOLDER.search(text)
