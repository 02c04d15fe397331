"""Claims about the folder of what does not fit into memory."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from core.errors import InputError
from core.ledger.scratch_folder import scratch_folder


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_folder_goes_with_what_it_holds(place: Path) -> None:
    with scratch_folder() as folder:
        (folder / "part").write_text("x")
        assert folder.parent == place
    assert list(place.iterdir()) == []


def test_full_disk_is_one_line_that_names_folder_and_remedy(place: Path) -> None:
    with pytest.raises(InputError) as caught, scratch_folder() as folder:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert f"{folder}: cannot be written (No space left on device); let TMPDIR" in str(caught.value)
    assert list(place.iterdir()) == []


def test_other_faults_are_not_laid_to_the_folder() -> None:
    with pytest.raises(FileNotFoundError), scratch_folder() as folder:
        (folder / "nothing").read_text()


def test_absent_place_is_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "nothing"))
    with pytest.raises(InputError, match="let TMPDIR name one"), scratch_folder():
        pass
