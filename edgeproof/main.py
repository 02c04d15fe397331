"""The command line; `main` is the only place that catches what commands raise."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from core.errors import EdgeproofError, InputError, InvalidRun
from edgeproof.group import RootGroup
from edgeproof.invocation import Invocation, begin

BEGIN = (
    "Begin with `edgeproof simulate baseline`, which takes seconds, then `edgeproof prove "
    "baseline`, which also measures. `edgeproof scenario new FILE` writes a scenario of your own."
)
EXIT_CODES = (
    "Exit codes: 0 all targets met; 1 a KPI misses its target; 2 usage or bad input; 3 the run "
    "cannot be trusted; 4 inconclusive (with --strict); 130 interrupted, by Ctrl-C or SIGTERM."
)

_OURS = Path(__file__).parents[1] if "site-packages" in __file__ else Path(__file__).parent
_MOST_OF_NAME = 200

app = typer.Typer(
    name="edgeproof",
    help="Will it hold, does it hold, and can the answer be believed? Simulates and load-tests the "
    "performance layer of an edge CDP from one scenario file.\n\n" + BEGIN,
    epilog=EXIT_CODES,
    cls=RootGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"edgeproof {version('edgeproof')}")
        except PackageNotFoundError:
            raise InputError("--version: edgeproof is not installed here; pip install it") from None
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Take the options that stand before every command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every failure is one clear line."""
    invocation = begin(sys.argv[1:] if arguments is None else arguments)
    with _term_as_interrupt():
        return _run(invocation, arguments)


@contextmanager
def _term_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: Python's own way would leave what it has started.

    A program that calls `main` keeps a handler of its own.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run(invocation: Invocation, arguments: Sequence[str] | None) -> int:
    try:
        # A name of its own: that of `python -m edgeproof` has spaces, which no completion takes.
        result = app(args=arguments, prog_name="edgeproof", standalone_mode=False)
    except typer.Abort:
        return _interrupted(invocation)
    except typer.TyperException as error:
        _find_files(invocation, error)
        return _end(invocation, _usage(error), 2)
    except InvalidRun as error:
        return _end(invocation, str(error), 3)
    except EdgeproofError as error:
        return _end(invocation, str(error), 2)
    except KeyboardInterrupt:
        return _interrupted(invocation)
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.__context__, OSError):
            return error.code if isinstance(error.code, int) else 0  # completion ends like this
        # The reader went away, which typer turns into exit code 1: nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if told := _told(error):
            return _end(invocation, told, 2)
        raise
    except RuntimeError as error:
        if str(error).startswith("Symlink loop from "):  # Path.resolve's, before Python 3.13
            return _end(invocation, f"{error}: a link that leads to itself; give another path", 2)
        raise
    finally:
        invocation.close()
    if result == 130:  # what typer makes of Ctrl-C
        return _interrupted(invocation)
    return result if isinstance(result, int) else 0


def _told(error: OSError) -> str:
    """Return one line on a path, or an output, that cannot be used; "" for a fault of our own."""
    is_output = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
    if error.filename is None:
        if is_output:
            return f"the output cannot be written ({error.strerror}); make room for it"
        if error.errno in (errno.EIO, errno.EFBIG, errno.ENXIO, errno.ESTALE, errno.ENOENT):
            return f"a file or folder cannot be used ({error.strerror}); check the working folder"
        return ""
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    if not name or Path(name).absolute().is_relative_to(_OURS):
        return ""  # what we come with is missing or broken: its traceback says where
    if is_output:
        return f"{name}: cannot be written ({error.strerror}); give another --out DIR"
    shown = name if len(name) <= _MOST_OF_NAME else f"{name[:_MOST_OF_NAME]}…"
    return f"{shown}: cannot be used ({error.strerror}); give another path"


def _find_files(invocation: Invocation, error: typer.TyperException) -> None:
    """Remember the files for CI systems of a command line that was not read to its end."""
    from edgeproof.ci import JUNIT, QUALITY

    context = getattr(error, "ctx", None)
    known = {name for one in context.command.params for name in one.opts} if context else set()
    words = invocation.arguments
    for option in {QUALITY, JUNIT} & known:
        for position, word in enumerate(words):
            name, mark, value = word.partition("=")
            value = value if mark else "".join(words[position + 1 : position + 2])
            if name == option and value and not value.startswith("-"):
                invocation.files.setdefault(option, Path(value))


def _interrupted(invocation: Invocation) -> int:
    from edgeproof.ci import interrupted

    # What the interrupt struck between its making and its start never runs, which needs no saying.
    warnings.filterwarnings("ignore", r"coroutine .* was never awaited", RuntimeWarning)
    text = f"interrupted; {invocation.end_early()}"
    interrupted(invocation, text)
    return _say(text, 130)


def _end(invocation: Invocation, text: str, code: int) -> int:
    from edgeproof.ci import tell_error

    with suppress(OSError):
        text = tell_error(invocation, text)
    return _say(text, code)


def _usage(error: typer.TyperException) -> str:
    text = error.format_message() if isinstance(error, typer.BadParameter.__mro__[2]) else ""
    said = (text or str(error)).replace("Value error, ", "")  # the words of a library
    return f"{said} (see edgeproof --help)"


def _say(text: str, code: int) -> int:
    from reports.words import printable

    with suppress(OSError):  # a full disk under standard error must not change the exit code
        for line in text.splitlines():
            print(f"edgeproof: {printable(line)}", file=sys.stderr)
    return code
