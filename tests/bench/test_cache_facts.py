"""Claims about the facts beside the table of caches: a known ratio, and a line for each."""

from __future__ import annotations

import pytest

from bench import cache_facts
from bench.peers import LIBRARIES, LRU
from bench.replays import hit_ratio


@pytest.mark.parametrize("gap", cache_facts.GAPS)
def test_half_of_the_accesses_to_moving_keys_are_hits_of_a_cache_that_keeps_the_latest(
    gap: int,
) -> None:
    accesses = cache_facts.moving(2_000, gap)
    assert len(accesses.pairs) == 4_000
    # The first half has `gap` first accesses more than second ones, so the second half has less.
    assert hit_ratio(LRU, accesses) == pytest.approx(0.5 + gap / 4_000)


def test_keys_that_come_again_too_late_are_misses() -> None:
    assert hit_ratio(LRU, cache_facts.moving(3_000, cache_facts.ROOM)) == 0


def test_each_library_is_printed_though_it_is_absent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        cache_facts, "absence", lambda each: "not installed" if each.distribution else ""
    )
    assert cache_facts.main(["--keys", "400"]) == 0
    out = capsys.readouterr().out
    whole = [each for each in LIBRARIES if each.is_whole and each.is_bounded][1:]
    assert all(each.name in out for each in whole)
    peers = [each for each in whole if each.distribution]
    assert out.count("not installed") == len(peers) + 1  # cashews twice
