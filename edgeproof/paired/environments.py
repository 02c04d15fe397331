"""An environment for a version whose requirements differ from the installed packages."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from edgeproof.paired.versions import Unusable, mark_used
from edgeproof.paired.world import is_installed


def environment(asked: Sequence[str], cache: Path, say: Callable[[str], None]) -> str:
    """Return the Python of an environment with *asked* on top of the installed packages.

    It is made once and kept. It sees this environment's packages, and only the different ones are
    installed into it. Raise Unusable with pip's last words if that fails.
    """
    if not asked:
        return sys.executable
    folders = [entry for entry in sys.path if entry and is_installed(entry)]
    parents = [folder for folder in folders if Path(folder).name.endswith("-packages")]
    known = sorted(f"{found.name}=={found.version}" for found in metadata.distributions())
    identity = hashlib.sha256(
        json.dumps([sys.version, sys.prefix, parents, known, sorted(asked)]).encode()
    ).hexdigest()[:32]
    folder = cache / "environments" / identity
    folder.parent.mkdir(parents=True, exist_ok=True)
    python, complete = folder / "bin" / "python", folder / "complete"
    with (folder.parent / f"{identity}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.is_file():
            say(f"installing {', '.join(asked)} into {folder}")
            has_pip = importlib.util.find_spec("pip") is not None
            _run(
                [sys.executable, "-m", "venv", "--clear", *(["--without-pip"] * has_pip), folder],
                "make an environment; on Debian: apt-get install python3-venv",
            )
            (packages,) = folder.glob("lib/python*/site-packages")
            lines = "".join(f"import site; site.addsitedir({parent!r})\n" for parent in parents)
            (packages / "_parent.pth").write_text(lines, encoding="utf-8")
            _run(
                [python, "-m", "pip", "install", "--quiet", "--no-input",
                 "--disable-pip-version-check", *asked],
                f"install {', '.join(asked)}",
            )  # fmt: skip
            complete.write_text("\n".join(asked) + "\n", encoding="utf-8")
    mark_used(folder)
    return str(python)


def _run(command: Sequence[str | Path], what: str) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise Unusable(f"cannot {what}: {' '.join(lines[-2:]) or f'exit {done.returncode}'}")
