"""Claims about checks of bodies: what holds, what fails, and what cannot be one."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import InputError
from core.scenario.checks import Check, Checks
from core.scenario.file import parse_scenario

BODY = b'{"ok": true, "n": 1, "lines": [{"sku": "a.b", "x y": null}], "text": "caf\\u00e9"}'


@pytest.mark.parametrize(
    ("check", "holds"),
    [
        ({"json": "$.ok", "equals": True}, True),
        ({"json": "$.ok", "equals": 1}, False),
        ({"json": "$.n", "equals": 1.0}, True),
        ({"json": "$.n", "equals": True}, False),
        ({"json": "$.lines[0].sku", "equals": "a.b"}, True),
        ({"json": "$.lines[1].sku", "exists": True}, False),
        ({"json": "$.lines[1].sku", "exists": False}, True),
        ({"json": '$.lines[0]["x y"]', "exists": True}, True),
        ({"json": "$.lines.sku", "exists": True}, False),
        ({"json": "$.none", "equals": "x"}, False),
        ({"contains": '"n": 1'}, True),
        ({"contains": "absent"}, False),
        ({"min_size": f"{len(BODY)}B"}, True),
        ({"min_size": f"{len(BODY) + 1}B"}, False),
        ({"max_size": f"{len(BODY)}B"}, True),
        ({"max_size": f"{len(BODY) - 1}B"}, False),
    ],
)
def test_check_holds_or_fails(check: dict[str, Any], holds: bool) -> None:
    assert Checks([Check.model_validate(check)]).failed(BODY) == (0 if holds else 1)


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"[" * 100_000])
def test_nothing_is_at_a_path_of_what_is_no_json(body: bytes) -> None:
    for claim in ({"exists": True}, {"exists": False}, {"equals": 1}):
        assert Checks([Check.model_validate({"json": "$.a", **claim})]).failed(body) == 1


def test_the_first_check_that_fails_is_named() -> None:
    given = ({"contains": "ok"}, {"json": "$.n", "equals": 2}, {"max_size": "1B"})
    checks = Checks([Check.model_validate(each) for each in given])
    assert checks.names == ("contains 'ok'", "$.n = 2", "size at most 1 bytes")
    assert checks.failed(BODY) == 2


@pytest.mark.parametrize(
    "check",
    [
        {}, {"json": "$.a"}, {"json": "$.a", "equals": 1, "exists": True}, {"equals": 1},
        {"contains": "a", "max_size": "1kB"}, {"json": "a..b", "exists": True},
        {"json": "$.a[*]", "exists": True}, {"contains": ""}, {"max_size": "many"},
    ],
)  # fmt: skip
def test_what_is_no_check_is_one_line_with_its_place(check: dict[str, Any]) -> None:
    data = {"name": "t", "endpoints": {"track": {"checks": [check]}}}
    with pytest.raises(InputError, match=r"^t\.toml: endpoints\.track\.checks\[0\]") as raised:
        parse_scenario(data, source="t.toml")
    assert "\n" not in str(raised.value)
