"""The pinned base revision for speed comparisons, and the reasons for its moves."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.files import write_whole
from core.texts import read_json

ROOT = Path(__file__).parents[1]
FILE = Path("bench", "base.json")
MEASURED = ("core", "sim", "scenarios", "reports", "bench", "constraints.txt")
"""The paths of the measured code; if none differs from the base, a comparison is pointless."""
NO_GIT = "there is no git on the PATH"
_HISTORY = 50
_FETCH_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The base if it is available, else the reason why not; an archive has no history."""

    revision: str
    has_history: bool = True
    absence: str = ""
    remedy: str = ""


def revision(root: Path = ROOT) -> str:
    """Return the pinned commit. Raise InputError if the file does not name one."""
    data = _data(root)
    _moves(data, root)
    found = data.get("revision")
    if not isinstance(found, str) or not re.fullmatch(r"[0-9a-f]{40}", found):
        raise InputError(
            f"{root / FILE}: revision is {found!r}, no commit of 40 digits; "
            "restore the file from git"
        )
    return found


def _data(root: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = read_json(root / FILE, "the base")
    except FileNotFoundError:
        raise InputError(
            f"{root / FILE}: there is no such file; run this in a checkout of edgeproof"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{root / FILE}: cannot be read ({error}); restore it from git") from None
    if not isinstance(data, dict):
        raise InputError(f"{root / FILE}: is no table; restore it from git")
    return data


def find(root: Path = ROOT, *, may_fetch: bool) -> Found:
    """Find the base in the clone at *root*, or fetch it from origin if *may_fetch*."""
    pinned = revision(root)
    if not has_git():
        return Found(revision=pinned, absence=NO_GIT, remedy="install git")
    if _git(root, "rev-parse", "--git-dir") is None:
        return Found(
            revision=pinned, has_history=False, absence=f"{root} is no git clone",
            remedy="clone the repository",
        )  # fmt: skip
    if _has(root, pinned):
        return Found(revision=pinned)
    is_shallow = (_git(root, "rev-parse", "--is-shallow-repository") or "").strip() == "true"
    # Fetching with a depth would make a full clone shallow.
    fetch = ("fetch", "--quiet", *(["--depth=1"] if is_shallow else []), "origin", pinned)
    if may_fetch and _git(root, *fetch) is not None and _has(root, pinned):
        return Found(revision=pinned)
    tried = "neither in this clone nor to be had from origin" if may_fetch else "not in this clone"
    return Found(
        revision=pinned,
        absence=f"{FILE}: revision {pinned[:10]} is {tried}",
        remedy=f"git {' '.join(fetch)}",
    )


def is_changed(pinned: str, root: Path = ROOT) -> bool:
    """Return whether any measured path differs from the pinned revision."""
    differs = _git(root, "diff", "--quiet", pinned, "--", *MEASURED) is None
    new = _git(root, "ls-files", "--others", "--exclude-standard", "--", *MEASURED)
    return differs or bool(new and new.strip())


def move(to: str, reason: str, root: Path = ROOT) -> str:
    """Pin *to*, keep *reason*, and return the commit that it is.

    Raise InputError for an empty reason and for a revision that is not an ancestor of HEAD.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise InputError("--reason is empty; say why the base moves")
    if not has_git():
        raise InputError(f"bench accept-base: {NO_GIT}; install git")
    found = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{to}^{{commit}}")
    if found is None:
        raise InputError(f"{to}: no git revision in {root}; git log lists them")
    commit = found.strip()
    if _git(root, "merge-base", "--is-ancestor", commit, "HEAD") is None:
        raise InputError(
            f"{to}: is no ancestor of HEAD, so that a clone may lack it; name a merged revision"
        )
    data = _data(root) if (root / FILE).exists() else {}
    moves = [*_moves(data, root), {"to": commit, "reason": reason}]
    text = json.dumps({"revision": commit, "moved": moves[-_HISTORY:]}, indent=1) + "\n"
    try:
        write_whole(root / FILE, text)
    except OSError as error:
        raise InputError(
            f"{root / FILE}: cannot be written ({error.strerror}); the base is as it was"
        ) from None
    return commit


def _moves(data: dict[str, Any], root: Path) -> list[dict[str, str]]:
    """Return the moves of the base in *data*. Raise InputError for an entry that is not a move."""
    moves = data.get("moved", [])
    if not isinstance(moves, list):
        raise InputError(f"{root / FILE}: moved is no list; restore the file from git")
    for number, one in enumerate(moves):
        fields = (one.get("to"), one.get("reason")) if isinstance(one, dict) else ()
        if not fields or not all(isinstance(field, str) for field in fields):
            raise InputError(
                f"{root / FILE}: moved[{number}] is {json.dumps(one)[:80]}, not a revision (to) "
                "and a reason; restore the file from git"
            )
    return moves


def has_git() -> bool:
    """Return whether there is a git to run."""
    return shutil.which("git") is not None


def _has(root: Path, commit: str) -> bool:
    return _git(root, "cat-file", "-e", f"{commit}^{{commit}}") is not None


def _git(root: Path, *arguments: str) -> str | None:
    """Return the output of a git command, None if it fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, env={**kept, "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            check=False, timeout=_FETCH_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
