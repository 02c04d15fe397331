"""The versions that are compared: a git revision, a folder or a wheel, each as a folder."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_JUNK = {".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".nox",
         ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".benchmarks"}  # fmt: skip


_KEPT = 20
_KEPT_SECONDS = 86_400.0
"""Folders used within a day are always kept: another comparison may be using them."""


class Unusable(Exception):
    """A version, suite or environment that cannot be used; the message names the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version's files in *root*; *identity* changes whenever one of them does."""

    label: str
    root: Path
    identity: str
    kind: str
    notes: tuple[str, ...] = ()


def cache_folder() -> Path:
    """Return where checkouts, compiled code and environments are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or ""
    home = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return home / "edgeproof"


def tidy(cache: Path) -> None:
    """Remove entries unused for a day from each folder of *cache*, except the newest ones."""
    with suppress(OSError):  # nothing to tidy, or another process does so
        stamp = cache / "tidied"
        stamp.touch()
        now = stamp.stat().st_mtime  # the clock of the folders' own times
        for kind in ("revisions", "wheels", "compiled", "environments"):
            if not (cache / kind).is_dir():
                continue
            entries = [entry for entry in (cache / kind).iterdir() if entry.is_dir()]
            entries.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
            for entry in entries[_KEPT:]:
                if now - entry.stat().st_mtime > _KEPT_SECONDS:
                    shutil.rmtree(entry, ignore_errors=True)


def mark_used(folder: Path) -> None:
    """Mark a folder of the cache as used, so it is not removed."""
    with suppress(OSError):
        os.utime(folder)


def find_version(text: str | None, project: Path, cache: Path) -> Version:
    """Return the version that *text* names; None is the working tree of *project*.

    A wheel ends in .whl; a folder is written with a slash or begins with a dot; anything else is
    a git revision, or failing that a folder. Raise Unusable with the remedy if there is none.
    """
    if text is None:
        return _folder(project, f"working tree of {project.name}")
    if not text.strip():
        raise Unusable(f"{text!r}: is no git revision, folder or wheel")
    if text.endswith(".whl"):
        return _wheel(_existing(project, text), cache)
    is_path = "/" in text or text.startswith(".") or os.sep in text
    if is_path and (place := project / Path(text).expanduser()).is_dir():
        return _folder(place.resolve(), text)
    commit = _commit(text, project)
    if commit is not None:
        return _revision(text, commit, project, cache)
    if (project / text).is_dir():
        return _folder((project / text).resolve(), text)
    raise Unusable(_why_no_version(text, project))


def _existing(project: Path, text: str) -> Path:
    path = project / Path(text).expanduser()
    if not path.is_file():
        raise Unusable(f"{text}: there is no such file; build it with: python -m build --wheel")
    return path


def _git(project: Path, *arguments: str, index: Path | None = None) -> str | None:
    """Return the output of a git command, None if it fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    if index is not None:
        kept["GIT_INDEX_FILE"] = str(index)
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=project, env=kept, stdin=subprocess.DEVNULL,
            capture_output=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        return None
    return os.fsdecode(done.stdout) if done.returncode == 0 else None


def _commit(text: str, project: Path) -> str | None:
    if "\0" in text or not text:
        return None
    found = _git(
        project, "rev-parse", "--verify", "--quiet", "--end-of-options", text + "^{commit}"
    )
    return found.strip() if found else None


def _refusal(project: Path) -> str | None:
    """Return git's message, with the remedy if git does not trust the folder's owner."""
    done = subprocess.run(
        ["git", "rev-parse", "--git-dir"], cwd=project, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    found = re.search(r"detected dubious ownership[^\n]*'(.+)'", done.stderr)
    if done.returncode == 0 or found is None:
        return None
    return f"{found[0]}; run: git config --global --add safe.directory {found[1]}"


def _why_no_version(text: str, project: Path) -> str:
    if shutil.which("git") is None:
        return f"{text}: no such folder, and git is not installed, so that it is no revision either"
    refusal = _refusal(project)
    if refusal is not None:
        return f"{text}: git refuses this repository: {refusal}"
    if _git(project, "rev-parse", "--git-dir") is None:
        return f"{text}: no such folder, and {project} is in no git repository"
    if (_git(project, "rev-parse", "--is-shallow-repository") or "").strip() == "true":
        if "~" in text or "^" in text:
            remedy = "git fetch --deepen=50"
        else:
            name = text.removeprefix("origin/")
            remedy = f"git fetch --depth=1 origin {name}   and then compare with FETCH_HEAD"
        return f"{text}: not in this clone, which is shallow; fetch it: {remedy}"
    if _commit(f"origin/{text}", project) is not None:
        return f"{text}: no such branch here, but the remote has it: use origin/{text}"
    return f"{text}: no git revision, folder or wheel of that name; git branch -a lists branches"


def _revision(text: str, commit: str, project: Path, cache: Path) -> Version:
    prefix = (_git(project, "rev-parse", "--show-prefix") or "").rstrip("\n")
    folder = cache / "revisions" / commit
    # Like a checkout, but with a separate index: `git archive` would leave out the files that
    # .gitattributes excludes from releases, such as the tests.
    with _made_once(folder) as fresh:
        if fresh is not None:
            with tempfile.TemporaryDirectory() as scratch:
                index = Path(scratch) / "index"
                if (
                    _git(project, "read-tree", commit, index=index) is None
                    or _git(
                        project, "checkout-index", "--all", f"--prefix={fresh}{os.sep}",
                        index=index,
                    ) is None
                ):  # fmt: skip
                    raise Unusable(
                        f"{text}: git cannot check it out; a partial clone lacks objects: "
                        "git fetch --refetch, or the disk is full"
                    )
    root = folder / prefix
    if not root.is_dir():
        raise Unusable(f"{text}: has no folder {prefix}; run this where both versions have one")
    modules = [
        line.rpartition("\t")[2]
        for line in (_git(project, "ls-tree", "-r", "--full-tree", commit) or "").splitlines()
        if line.startswith("160000 ")
    ]
    notes = (f"{text}: submodules are not checked out: {', '.join(modules)}",) if modules else ()
    return Version(
        label=f"{text} ({commit[:10]})" if not commit.startswith(text) else commit[:10],
        root=root, identity=commit, kind="revision", notes=notes,
    )  # fmt: skip


def _folder(root: Path, label: str) -> Version:
    return Version(label=label, root=root, identity=content_hash(root), kind="folder")


def _wheel(path: Path, cache: Path) -> Version:
    with path.open("rb") as file:
        identity = hashlib.file_digest(file, "sha256").hexdigest()
    folder = cache / "wheels" / identity
    with _made_once(folder) as fresh:
        if fresh is not None:
            try:
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(fresh)
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
                raise Unusable(f"{path.name}: is no wheel that can be read: {error}") from None
            for part in ("purelib", "platlib"):
                for data in fresh.glob(f"*.data/{part}"):
                    shutil.copytree(data, fresh, dirs_exist_ok=True)
    if not any(folder.glob("*.dist-info/METADATA")):
        raise Unusable(f"{path.name}: is no wheel; it has no METADATA")
    return Version(label=path.name, root=folder, identity=identity, kind="wheel")


@contextmanager
def _made_once(folder: Path) -> Iterator[Path | None]:
    """Yield a folder to fill if *folder* is not there yet; it gets its name when it is complete."""
    if folder.is_dir():
        mark_used(folder)
        yield None
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        yield fresh
        try:
            fresh.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first, with the same content
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def content_hash(root: Path) -> str:
    """Return a hash of the files below *root*; in a git repository, of those it does not ignore."""
    digest = hashlib.sha256()
    for name in _names(root):
        path = root / name
        try:
            if path.is_symlink():
                digest.update(f"{name}\0link\0{os.readlink(path)}\0".encode(errors="replace"))
            elif path.is_file():
                digest.update(f"{name}\0file\0".encode(errors="surrogateescape"))
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise Unusable(f"{path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()


def _names(root: Path) -> list[str]:
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".")
    if listed:
        return sorted({name for name in listed.split("\0") if name})
    found = []
    for folder, below, names in os.walk(root):
        below[:] = [
            name for name in below
            if name not in _JUNK and not name.endswith(".egg-info")
            and not (Path(folder) / name / "pyvenv.cfg").is_file()
        ]  # fmt: skip
        found += [str((Path(folder) / name).relative_to(root)) for name in names]
    return sorted(found)
