"""Claims about tokens that commands print: bounded, never shown, not fetched too often."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from core.errors import InputError
from scenarios.tokens import Tokens, tokens_of

USED = ("TOKEN",)


def test_command_is_run_without_a_shell() -> None:
    tokens = tokens_of(["TOKEN=echo '$HOME; a  b' *"], every=None, used=USED)
    assert tokens.fetch() == {"TOKEN": "$HOME; a  b *"}


def test_output_without_an_end_is_refused() -> None:
    with pytest.raises(InputError, match="printed more than a token"):
        Tokens({"TOKEN": ["yes"]}).fetch()


def test_command_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scenarios.tokens.COMMAND_SECONDS", 0.2)
    program = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); "
    with pytest.raises(InputError, match=r"did not end within 0\.2 s"):
        Tokens({"TOKEN": [sys.executable, "-S", "-c", f"{program} time.sleep(600)"]}).fetch()
    pid = tmp_path / "pid"
    assert not pid.exists() or not Path(f"/proc/{pid.read_text() or 0}").exists()


@pytest.mark.parametrize("output", ["\\377", "a\\033b", ""])
def test_unfit_output_is_refused_and_not_shown(output: str) -> None:
    with pytest.raises(InputError, match="--token-command TOKEN: printf") as caught:
        Tokens({"TOKEN": ["printf", output]}).fetch()
    assert str(caught.value).isprintable()


def renewed(tokens: Tokens, *, is_asked: bool) -> list[Mapping[str, str] | str]:
    """Return what came of a request to renew: values, a fault, or nothing."""
    found: list[Mapping[str, str] | str] = []
    tokens.renew(found.append, found.append, is_asked=is_asked)
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon:
            thread.join(30)
    return found


def test_tokens_are_renewed_when_they_are_refused_or_due_and_not_too_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("scenarios.tokens.monotonic", lambda: now[0])
    tokens = Tokens({"TOKEN": ["echo", "new"]}, every=60.0)
    tokens._fetched_at = 0.0
    now[0] = 9.9
    assert renewed(tokens, is_asked=True) == []
    now[0] = 10.0
    assert renewed(tokens, is_asked=False) == []
    assert renewed(tokens, is_asked=True) == [{"TOKEN": "new"}]
    now[0] = 69.9
    assert renewed(tokens, is_asked=False) == []
    now[0] = 70.0
    assert renewed(tokens, is_asked=False) == [{"TOKEN": "new"}]


def test_fault_of_a_renewal_is_told_and_the_pause_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("scenarios.tokens.monotonic", lambda: now[0])
    tokens = Tokens({"TOKEN": ["false"]})
    now[0] = 120.0
    (fault,) = renewed(tokens, is_asked=True)
    assert str(fault).startswith("the token was not fetched again: --token-command TOKEN: false")
    assert renewed(tokens, is_asked=True) == []


def test_no_command_fetches_nothing() -> None:
    tokens = tokens_of([], every=None, used=USED)
    assert not tokens
    assert tokens.fetch() == {}
    assert renewed(tokens, is_asked=True) == []
