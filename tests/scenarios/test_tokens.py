"""Claims about tokens that commands print: bounded, never shown, not fetched too often."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from scenarios.tokens import Tokens, tokens_of
from tests.scenarios.commands import counting, left_of

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


def renewed(
    tokens: Tokens, *, is_asked: bool, given: Mapping[str, str] | None = None
) -> list[Mapping[str, str] | str]:
    """Return what came of a request to renew: values, a fault, or nothing."""
    found: list[Mapping[str, str] | str] = []
    given = tokens.values if given is None else given
    tokens.renew(found.append, found.append, given=given, is_asked=is_asked)
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
    tokens._fetched_at = tokens._tried_at = 0.0
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


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time in seconds that tokens see."""
    seconds = [100.0]
    monkeypatch.setattr("scenarios.tokens.monotonic", lambda: seconds[0])
    return seconds


def test_load_asked_too_soon_is_given_newer_values_than_it_has(
    tmp_path: Path, now: list[float]
) -> None:
    tokens = counting(tmp_path)
    older = tokens.fetch()
    newer = tokens.fetch()
    assert (older, newer) == ({"TOKEN": "1"}, {"TOKEN": "2"})
    assert renewed(tokens, is_asked=True, given=older) == [newer]
    assert renewed(tokens, is_asked=True, given=newer) == []
    assert renewed(tokens, is_asked=False, given=older) == []


def test_load_begins_with_a_token_that_was_not_refused_and_is_not_due(
    tmp_path: Path, now: list[float]
) -> None:
    tokens = counting(tmp_path, every=60.0)
    tokens.fetch()
    assert tokens.ready() == {"TOKEN": "1"}
    now[0] += 5.0
    assert renewed(tokens, is_asked=True) == []  # too soon, as the load ends
    assert tokens.ready() == {"TOKEN": "2"}
    assert tokens.ready() == {"TOKEN": "2"}
    now[0] += 60.0
    assert tokens.ready() == {"TOKEN": "3"}


def test_load_waits_for_the_token_that_the_one_before_it_asked_for(
    tmp_path: Path, now: list[float]
) -> None:
    os.mkfifo(tmp_path / "go")
    tokens = counting(tmp_path, then=f"[ $n = 1 ] || cat {tmp_path / 'go'}")
    given = tokens.fetch()
    now[0] += 20.0
    found: list[Any] = []
    tokens.renew(found.append, found.append, given=given, is_asked=True)
    assert tokens.values == given  # the load ends meanwhile
    threading.Timer(0.1, (tmp_path / "go").write_text, [""]).start()
    assert tokens.ready() == {"TOKEN": "2"}
    assert tokens.values == found[0]


def test_load_does_not_begin_with_a_refused_token_where_there_is_no_other(
    tmp_path: Path, now: list[float]
) -> None:
    tokens = counting(tmp_path, then="[ $n = 1 ] || exit 3")
    tokens.fetch()
    now[0] += 20.0
    (fault,) = renewed(tokens, is_asked=True)
    assert "ended with code 3" in str(fault)
    with pytest.raises(InputError, match="ended with code 3"):
        tokens.ready()


def test_command_is_ended_with_all_that_it_started_when_nobody_needs_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pids")
    tokens = Tokens({"TOKEN": ["sh", "-c", f"sleep 600 & echo $$ $! > {tmp_path / 'pids'}; wait"]})
    tokens._tried_at -= 60.0
    found: list[Any] = []
    tokens.renew(found.append, found.append, given={}, is_asked=True)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    tokens.close()
    assert found == []
    assert left_of(pids) == []
    tokens.close()
    tokens._commands = {"TOKEN": ["echo", "a"]}
    assert tokens.fetch() == {"TOKEN": "a"}


def test_no_command_fetches_nothing() -> None:
    tokens = tokens_of([], every=None, used=USED)
    assert not tokens
    assert tokens.fetch() == {}
    assert renewed(tokens, is_asked=True) == []
