"""Claims about what-ifs: one field at several values, or factors of it."""

from __future__ import annotations

import pytest

from core.cost.what_if import DEFAULT, variants
from core.errors import InputError
from core.scenario.scenario import Scenario

SCENARIO = Scenario(name="x")


def test_values_are_read_as_an_override_reads_them() -> None:
    found = variants(SCENARIO, "tiers.l1.ttl=10s,60s")
    assert [each.scenario.tiers.l1.ttl for each in found] == [10.0, 60.0]
    assert [each.is_base for each in found] == [False, True]


def test_a_factor_multiplies_every_field_of_a_table() -> None:
    (found,) = variants(SCENARIO, "tiers.l2.ttl=x2")
    before, after = SCENARIO.tiers.l2.ttl, found.scenario.tiers.l2.ttl
    assert after.default == 2 * before.default
    assert {name: 2 * value for name, value in before} == dict(after)


def test_a_factor_multiplies_numbers_and_sizes() -> None:
    (entries,) = variants(SCENARIO, "tiers.l1.max_entries=x0.5")
    (size,) = variants(SCENARIO, "tiers.l1.max_bytes=x2")
    assert entries.scenario.tiers.l1.max_entries == 5_000
    assert size.scenario.tiers.l1.max_bytes == 32_000_000


def test_the_default_tries_the_ttls_of_both_tiers() -> None:
    tried = [variant for text in DEFAULT for variant in variants(SCENARIO, text)]
    assert {each.field for each in tried} == {"tiers.l1.ttl", "tiers.l2.ttl"}
    assert sum(each.is_base for each in tried) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tiers.l1.ttl", "write it as FIELD=VALUE"),
        ("tiers.l1.ttl=10s,,60s", "write it as FIELD=VALUE"),
        ("tiers.l1.ttl=10s,10s", "a value is given twice"),
        ("tiers.l9.ttl=x2", "leads nowhere"),
        ("tiers.single_flight=x2", "is true or false"),
        ("tiers.l1.scope=x2", "has no multiple"),
        ("tiers.l1.ttl=never", "--over tiers.l1.ttl=never"),
        ("tiers.l1.ttl=" + ",".join(f"{n}s" for n in range(1, 40)), "give at most"),
    ],
)
def test_what_is_no_field_or_value_is_refused(text: str, told: str) -> None:
    with pytest.raises(InputError, match=r"^--over") as raised:
        variants(SCENARIO, text)
    assert told in str(raised.value)
