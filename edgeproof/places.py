"""The files that bench commands write to, checked before minutes are spent."""

from __future__ import annotations

import os
from pathlib import Path

from core.errors import InputError

ENDING = ".jsonl"


def check_writable(path: Path, option: str) -> None:
    """Raise InputError, before minutes are spent, if a file at *path* cannot be written."""
    if path.is_dir():
        raise InputError(f"{option} {path}: is a folder; give a file")
    if not path.parent.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InputError(f"{option} {path}: cannot be written; give a file in a folder that can")


def history_path(text: str) -> Path:
    """Return the file that a NAME or FILE means: a name lies in the working folder."""
    path = Path(text)
    if not text.strip() or path.is_dir():
        raise InputError(f"{text or 'an empty name'}: is no file; give a NAME or FILE.jsonl")
    return path if path.suffix or "/" in text else Path(text + ENDING)
