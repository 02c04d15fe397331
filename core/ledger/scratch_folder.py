"""A temporary folder for data that does not fit into memory."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a new folder below TMPDIR; InputError if it cannot be made, or has no room left."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="edgeproof-", ignore_cleanup_errors=True)
    except OSError as error:
        raise InputError(
            f"no folder for temporary files can be made ({error.strerror}); let TMPDIR name one "
            "that can be written"
        ) from None
    with folder as name:
        try:
            yield Path(name)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise InputError(
                f"{name}: cannot be written ({os.strerror(error.errno)}); let TMPDIR name a folder "
                "with more room"
            ) from None
