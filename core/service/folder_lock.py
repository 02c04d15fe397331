"""The lock of a service on the folder of its database: a second one would undo its figures."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import InputError

_HOLDER = "service.pid"


@contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """Hold *folder* for this process as long as the context lasts.

    Raise InputError if another service holds it, or nothing can be written there. The kernel lets
    go of the lock of a process that was killed; the file that names its process says nothing alone.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"{folder}: cannot be used ({error.strerror}); give a folder") from None
    holder = folder / _HOLDER
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder}: a service runs on it already{_who(holder)}; end that one or give "
                "another folder"
            ) from None
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be locked ({error.strerror}); give a folder on a local disk"
            ) from None
        try:
            holder.write_text(f"{os.getpid()}\n", encoding="ascii")
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be written to ({error.strerror}); give another folder"
            ) from None
        try:
            yield
        finally:
            holder.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _who(holder: Path) -> str:
    try:
        return f" (process {int(holder.read_text(encoding='ascii'))})"
    except (OSError, ValueError):  # it has locked the folder this moment
        return ""
