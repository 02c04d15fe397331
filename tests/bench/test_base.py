"""Claims about the pinned revision that our own speed is compared with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.base import FILE, ROOT, find, is_changed, move, revision
from core.errors import InputError
from edgeproof import base as command
from edgeproof.main import main
from edgeproof.paired.request import OWN_SUITE
from tests.edgeproof.paired.projects import commit, git, repository, write


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    """Return a repository whose only commit is the base."""
    root = repository(tmp_path / "a", {"core/a.py": "A = 1\n", "bench/b.py": "", "README.md": ""})
    move("HEAD", "the first", root)
    return root


def test_the_shipped_base_is_a_commit_with_its_reason() -> None:
    data = json.loads((ROOT / FILE).read_text(encoding="utf-8"))
    assert data["revision"] == revision() == data["moved"][-1]["to"]
    assert data["moved"][-1]["reason"]


def test_every_chosen_benchmark_exists() -> None:
    text = "".join((ROOT / OWN_SUITE / name).read_text() for name in command.FILES)
    assert all(f"def {name}(" in text for name in command.CHOSEN)


def test_moving_the_base_keeps_the_reasons(merged: Path) -> None:
    first = revision(merged)
    second = commit(merged)
    assert move("HEAD", "  two\nlines ", merged) == second == revision(merged)
    moved = json.loads((merged / FILE).read_text(encoding="utf-8"))["moved"]
    assert moved == [{"to": first, "reason": "the first"}, {"to": second, "reason": "two lines"}]


def test_a_base_that_clones_may_lack_or_without_reason_is_refused(merged: Path) -> None:
    git(merged, "checkout", "--quiet", "-b", "side")
    commit(merged)
    git(merged, "checkout", "--quiet", "main")
    for to, reason, told in (
        ("side", "why", "side: is no ancestor of HEAD"),
        ("nope", "why", "nope: no git revision"),
        ("--all", "why", "--all: no git revision"),
        ("HEAD", " ", "--reason is empty"),
    ):
        with pytest.raises(InputError, match=told):
            move(to, reason, merged)


@pytest.mark.parametrize(
    "text",
    [
        "{}", "[]", '{"revision": "main"}', "{",
        f'{{"revision": "{"0" * 40}", "moved": 5}}',
        f'{{"revision": "{"0" * 40}", "moved": [{{"to": "a", "reason": "b"}}, 5]}}',
        f'{{"revision": "{"0" * 40}", "moved": [{{"to": "a"}}]}}',
    ],
)  # fmt: skip
def test_a_file_that_names_no_commit_is_named(merged: Path, text: str) -> None:
    (merged / FILE).write_text(text)
    with pytest.raises(InputError, match=r"base\.json: .*restore"):
        revision(merged)


def test_only_what_is_measured_makes_a_comparison(merged: Path) -> None:
    pinned = revision(merged)
    (merged / FILE).unlink()  # made after the base, as in no later clone
    assert not is_changed(pinned, merged)
    write(merged, {"README.md": "words\n"})
    assert not is_changed(pinned, merged)
    write(merged, {"core/new.py": ""})
    assert is_changed(pinned, merged)
    (merged / "core/new.py").unlink()
    write(merged, {"core/a.py": "A = 2\n"})
    commit(merged)
    assert is_changed(pinned, merged)


def test_a_shallow_clone_fetches_the_base_where_it_may_and_else_says_how(
    merged: Path, tmp_path: Path
) -> None:
    commit(merged)
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{merged}", "b")
    clone = tmp_path / "b"
    pinned = revision(merged)
    absent = find(clone, may_fetch=False)
    assert absent.absence == f"bench/base.json: revision {pinned[:10]} is not in this clone"
    assert absent.remedy == f"git fetch --quiet --depth=1 origin {pinned}"
    git(merged, "config", "uploadpack.allowAnySHA1InWant", "true")
    assert not find(clone, may_fetch=True).absence
    assert not find(clone, may_fetch=False).absence


def test_a_base_that_cannot_be_had_is_skipped_by_a_user_and_fails_in_ci(
    merged: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data = json.dumps({"revision": "0" * 40})
    (merged / FILE).write_text(data)
    monkeypatch.setattr(command, "find", lambda may_fetch: find(merged, may_fetch=may_fetch))
    monkeypatch.delenv("CI", raising=False)
    assert main(["bench", "compare-base"]) == 0
    assert "0000000000 is not in this clone" in capfd.readouterr().out
    monkeypatch.setenv("CI", "true")
    assert main(["bench", "compare-base"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "neither in this clone nor to be had from origin" in line


def test_sources_without_a_history_are_told_so_in_ci_too(
    merged: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (merged / ".git").rename(merged / "no-git")
    monkeypatch.setattr(command, "find", lambda may_fetch: find(merged, may_fetch=may_fetch))
    monkeypatch.setenv("CI", "true")
    assert main(["bench", "compare-base"]) == 0
    assert "is no git clone; clone the repository. Nothing was compared." in capfd.readouterr().out


def test_without_git_a_user_is_told_and_ci_fails(
    merged: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find", lambda may_fetch: find(merged, may_fetch=may_fetch))
    monkeypatch.setenv("PATH", str(merged))
    for ci, code in (("", 0), ("true", 2)):
        monkeypatch.setenv("CI", ci)
        assert main(["bench", "compare-base"]) == code
        out, err = capfd.readouterr()
        (line,) = (out + err).splitlines()
        assert "bench compare-base: there is no git on the PATH; install git" in line
    with pytest.raises(InputError, match="accept-base: there is no git on the PATH; install git"):
        move("HEAD", "why", merged)


def test_a_base_that_cannot_be_written_stays_as_it_was(
    merged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (merged / FILE).read_bytes()

    def full(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"base\.json: cannot be written \(No space left"):
        move("HEAD", "why", merged)
    assert (merged / FILE).read_bytes() == before
    assert [path.name for path in (merged / "bench").iterdir() if "base" in path.name] == [
        "base.json"
    ]
