"""Claims about `edgeproof verify`: a right model passes, and a planted error is caught."""

from __future__ import annotations

import json

import pytest

from core.errors import InputError
from edgeproof.verify import command
from sim.verification import LIMIT, cases, verify

QUICK = 6_000


@pytest.mark.parametrize("case", list(cases(QUICK)), ids=lambda case: case.name)
def test_model_agrees_with_theory(case: object) -> None:
    found = verify(case)  # type: ignore[arg-type]  # pytest's parameters are objects
    assert found.holds
    assert found.interval[0] <= found.estimate <= found.interval[1]


def test_error_that_was_said_to_be_caught_is_caught_when_planted() -> None:
    (case,) = (case for case in cases(QUICK) if case.name == "M/D/1")
    right = verify(case)
    assert right.caught is not None
    wrong = verify(case, planted=1.5 * right.caught)
    assert not wrong.holds
    assert wrong.t > LIMIT


def test_command_fails_on_a_planted_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(only=["M/M/1"], quick=True, plant="10%", json=True) == 1
    assert json.loads(capsys.readouterr().out)["failed"] == ["M/M/1"]
    assert command(only=["Che"], quick=True, plain=True) == 0
    out = capsys.readouterr().out
    assert "PASS: the model agrees with theory." in out
    assert "Che" in out


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"only": ["M/X/1"]}, "is no case; give one of M/M/1"), ({"plant": "80%"}, "0% to 50%"),
     ({"plant": "much"}, "give a percentage")],
)  # fmt: skip
def test_wrong_options_are_one_line(fields: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        command(**fields)  # type: ignore[arg-type]  # the point
