"""Claims about the peers' facts: ours stand there, and an absent peer says that it is."""

from __future__ import annotations

import pytest

from bench import attribution_facts
from bench.attribution_facts import CALLS, ours


def test_our_credit_is_whole_and_does_not_depend_on_names() -> None:
    found = list(ours().values())
    assert [sum(credit.values()) for credit in found] == pytest.approx(
        [11.7, 1, 135, 55, 55, 20, 20]
    )
    assert found[3] == pytest.approx(found[4])
    assert min(found[2].values()) >= 0


def test_each_fact_is_printed_though_peers_are_absent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert attribution_facts.main([]) == 0
    out = capsys.readouterr().out
    assert all(f"{name}:" in out for name in CALLS)
    assert out.count("edgeproof ") == len(CALLS)
    with pytest.raises(SystemExit, match="cannot be run"):
        attribution_facts.main(["--peers", "/nowhere/python"])
