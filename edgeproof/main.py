"""The command line; `main` is the only place that catches what commands raise."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import typer

from core.errors import EdgeproofError, InvalidRun
from edgeproof import (
    attribute,
    bench,
    load,
    outbox,
    plan,
    prove,
    queue,
    report,
    scenario,
    serve,
    simulate,
    upkeep,
)
from edgeproof.ci import JUNIT, QUALITY, interrupted, tell_error
from edgeproof.invocation import Invocation, begin
from reports.words import printable

EXIT_CODES = """
Exit codes: 0 all targets met; 1 a KPI misses its target; 2 usage or bad input; 3 the run cannot be
trusted; 4 inconclusive (with --strict); 130 interrupted.
"""

_OURS = Path(__file__).parents[1] if "site-packages" in __file__ else Path(__file__).parent
_MOST_OF_NAME = 200

app = typer.Typer(
    name="edgeproof",
    help="Will it hold, does it hold, and can the answer be believed? Simulates and load-tests the "
    "performance layer of an edge CDP from one scenario file." + EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("simulate")(simulate.command)
app.command("serve")(serve.command)
app.command("load")(load.command)
app.command("prove")(prove.command)
app.command("plan")(plan.command)
app.command("report")(report.command)
attribute.app.command("fit")(upkeep.fit)
attribute.app.command("store")(upkeep.store)
attribute.app.command("recount")(upkeep.recount_totals)
app.add_typer(attribute.app, name="attribute")
app.add_typer(bench.app, name="bench")
app.add_typer(scenario.app, name="scenario")
app.add_typer(queue.app, name="queue")
app.add_typer(outbox.app, name="outbox")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every failure is one clear line."""
    invocation = begin(sys.argv[1:] if arguments is None else arguments)
    try:
        result = app(args=arguments, standalone_mode=False)
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
    except (BrokenPipeError, SystemExit):
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
    # What the interrupt struck between its making and its start never runs, which needs no saying.
    warnings.filterwarnings("ignore", r"coroutine .* was never awaited", RuntimeWarning)
    text = f"interrupted; {invocation.end_early()}"
    interrupted(invocation, text)
    return _say(text, 130)


def _end(invocation: Invocation, text: str, code: int) -> int:
    with suppress(OSError):
        text = tell_error(invocation, text)
    return _say(text, code)


def _usage(error: typer.TyperException) -> str:
    text = error.format_message() if isinstance(error, typer.BadParameter.__mro__[2]) else ""
    return f"{text or error} (see edgeproof --help)"


def _say(text: str, code: int) -> int:
    with suppress(OSError):  # a full disk under standard error must not change the exit code
        for line in text.splitlines():
            print(f"edgeproof: {printable(line)}", file=sys.stderr)
    return code
