"""The pytest plugin: `pytest --paired BASE` compares benchmarks instead of running tests.

Every pytest run loads it in an environment with edgeproof. So it imports nothing and does nothing
unless the option is given.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_PACKAGES = ("core", "sim", "scenarios", "reports", "bench", "edgeproof")
_OWN = (
    ("--paired-head", "HEAD", "What is judged. Default: the folder as it is."),
    ("--paired-max-regression", "SHARE", "Fail for a slowdown that may be as large as this (5%)."),
    ("--paired-budget", "TIME", "Stop after this time, e.g. 90s (5m)."),
)
_FLAGS = (
    ("--paired-allow-missing", "Do not fail for a benchmark that only one version has."),
    ("--paired-allow-counts", "Do not fail for exact counts that differ."),
    ("--paired-same-suite", "Run the head's benchmarks on both versions."),
    ("--paired-apart", "Give each version a process of its own in any case."),
    ("--paired-strict", "Exit with 4 if a benchmark is undecided."),
    ("--paired-json", "Print one JSON object on standard output."),
)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the options; nothing else changes for those who do not give them."""
    group = parser.getgroup("paired", "compare benchmarks with another version (edgeproof)")
    group.addoption(
        "--paired",
        metavar="BASE",
        help="Compare the benchmarks with this version, a git revision, folder or wheel, instead "
        "of running tests. Exit code 1 for a regression.",
    )
    for name, metavar, told in _OWN:
        group.addoption(name, metavar=metavar, help=told)
    for name, told in _FLAGS:
        group.addoption(name, action="store_true", help=told)
    _leave_imports_alone(pluginmanager)


def _leave_imports_alone(pluginmanager: object) -> None:
    """Exempt our packages from pytest's rewriting of asserts in distributions with a plugin.

    Pytest selects packages by name, and a project may have a `core` of its own.
    """
    marked = getattr(getattr(pluginmanager, "rewrite_hook", None), "_must_rewrite", None)
    if isinstance(marked, set):
        marked.difference_update(_PACKAGES)


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Compare and return the exit code if --paired is given."""
    option = config.option
    if option.paired is None:
        given = [name for name, *_ in (*_OWN, *_FLAGS) if getattr(option, _attribute(name))]
        if not given:
            return None
        print(f"edgeproof: {given[0]}: needs --paired BASE", file=sys.stderr)
        return 2
    return _compared(config)


def _attribute(name: str) -> str:
    return name.removeprefix("--").replace("-", "_")


def _compared(config: pytest.Config) -> int:
    from edgeproof.paired.comparison import Empty, Untrusted
    from edgeproof.paired.options import Shown, run, seconds, share
    from edgeproof.paired.request import Request
    from edgeproof.paired.result import Rules
    from edgeproof.paired.versions import Unusable

    option = config.option
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture(in_=True)
    try:
        folder = config.rootpath.resolve()
        asked = Request(
            base=option.paired,
            head=option.paired_head,
            project=folder,
            suite=tuple(str(config.invocation_params.dir / text) for text in config.args),
            options=_options(option),
            same_suite=option.paired_same_suite,
            apart=option.paired_apart,
        )
        rules = Rules(
            limit=share(option.paired_max_regression or "5%", "--paired-max-regression"),
            budget=seconds(option.paired_budget or "5m", "--paired-budget"),
            allow_missing=option.paired_allow_missing,
            allow_counts=option.paired_allow_counts,
        )
        return run(asked, rules, Shown(as_json=option.paired_json, strict=option.paired_strict))
    except Unusable as error:
        print(f"edgeproof: --paired: {error}", file=sys.stderr)
        return 2
    except Empty as error:
        chosen = [
            f"{name} {text}"
            for name, text in (("-k", option.keyword), ("-m", option.markexpr))
            if text
        ]
        why = f"{' '.join(chosen)}: selects no benchmark" if chosen else str(error)
        print(f"edgeproof: --paired: {why}", file=sys.stderr)
        return 2 if chosen else 3
    except Untrusted as error:
        print(f"edgeproof: --paired: {error}", file=sys.stderr)
        return 3


def _options(option: object) -> tuple[str, ...]:
    """Return the options that select tests and plugins, for the measuring sessions."""
    found: list[str] = []
    for attribute, name in (("keyword", "-k"), ("markexpr", "-m")):
        if text := getattr(option, attribute, ""):
            found += [name, text]
    for text in getattr(option, "override_ini", None) or ():
        found += ["-o", text]
    for text in getattr(option, "plugins", None) or ():
        if text != __name__:
            found += ["-p", text]
    return tuple(found)
