"""Claims about what a tiered cache may be told."""

from __future__ import annotations

import pytest

from core.caching.policy import CacheType, Text
from tests.core.caching.rig import Rig, switched


@pytest.mark.parametrize(
    ("switch", "value"),
    [
        ("ttl_jitter", 1.0),
        ("ttl_jitter", -0.1),
        ("l1_ttl", -1.0),
        ("negative_ttl", -1.0),
        ("stale_while_revalidate", -1.0),
        ("stale_if_error", float("nan")),
        ("retry_pause", -1.0),
        ("early_refresh", -1.0),
        ("l2_soft_timeout", -1.0),
    ],
)
def test_a_switch_out_of_its_range_is_refused_by_name(switch: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{switch} is {value}"):
        switched(**{switch: value})


def test_a_type_without_a_life_is_refused() -> None:
    with pytest.raises(ValueError, match="the TTL of config is 0"):
        CacheType(name="config", ttl=0.0, codec=Text())


@pytest.mark.parametrize("switch", [{"ttl_jitter": 0.1}, {"early_refresh": 1.0}])
def test_a_switch_that_draws_needs_random_numbers(switch: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="give uniform"):
        Rig(policy=switched(**switch))


def test_the_stale_bound_is_that_of_the_switch_that_reaches_further() -> None:
    assert switched().stale_bound == 0.0
    assert switched(stale_while_revalidate=5.0, stale_if_error=3.0).stale_bound == 5.0
    assert switched(stale_while_revalidate=5.0, stale_if_error=30.0).stale_bound == 30.0
