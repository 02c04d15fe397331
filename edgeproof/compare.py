"""edgeproof bench compare: two versions of a project's benchmarks, in turns, with a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.errors import InputError, InvalidRun
from edgeproof.ci import GithubOption, JunitOption, QualityOption, chosen_ci, write
from edgeproof.compared import SUITE, cases, findings, summary, tell_untrusted
from edgeproof.options import JsonOption
from edgeproof.paired.calibration import ALONE
from edgeproof.paired.comparison import Empty, Untrusted
from edgeproof.paired.options import Finished, Shown, run, seconds, share
from edgeproof.paired.request import OWN_SUITE, Request
from edgeproof.paired.result import Rules
from edgeproof.paired.versions import Unusable
from reports.junit import written


def command(
    base: Annotated[
        str,
        typer.Argument(metavar="BASE", help="What is compared with: git revision, folder, wheel."),
    ],
    head: Annotated[
        str | None,
        typer.Argument(metavar="[HEAD]", help="What is judged. Default: the folder as it is."),
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(
            "--suite",
            metavar="PATH",
            help="Files or folders of pytest-benchmark tests, relative to this folder. "
            f"Repeatable. Default: {OWN_SUITE}.",
        ),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option("-k", metavar="NAME", help="Only benchmarks that pytest's -k selects."),
    ] = None,
    max_regression: Annotated[
        str,
        typer.Option(
            "--max-regression",
            metavar="SHARE",
            help="Fail for a slowdown that is certain and may be as large as this.",
        ),
    ] = "5%",
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="Stop after this time, e.g. 90s.")
    ] = "5m",
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing", help="Do not fail for a benchmark that only one version has."
        ),
    ] = False,
    allow_counts: Annotated[
        bool, typer.Option("--allow-counts", help="Do not fail for exact counts that differ.")
    ] = False,
    count: Annotated[
        list[str] | None,
        typer.Option(
            "--count",
            metavar="NAME",
            help="Compare this whole number of extra_info exactly. Repeatable. Always compared: "
            "names that end in _count, and those in extra_info['counts'].",
        ),
    ] = None,
    path: Annotated[
        list[str] | None,
        typer.Option(
            "--path",
            metavar="DIR",
            help="Where packages lie within a version, if neither at its root nor in src.",
        ),
    ] = None,
    same_suite: Annotated[
        bool, typer.Option("--same-suite", help="Run the head's benchmarks on both versions.")
    ] = False,
    apart: Annotated[
        bool,
        typer.Option("--apart", help="Give each version a process of its own in any case."),
    ] = False,
    instructions: Annotated[
        bool,
        typer.Option(
            "--instructions", help="Count instructions per call, too, with valgrind. Minutes more."
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 4 if a benchmark is undecided.")
    ] = False,
    as_json: JsonOption = False,
    github: GithubOption = None,
    code_quality: QualityOption = None,
    junit: JunitOption = None,
) -> int:
    """Compare two versions' benchmarks in one run: FASTER, SLOWER, SAME or UNDECIDED.

    Both are loaded into fresh processes and timed in turns, call by call. Exit code 1: slower
    beyond the limit, other counts, or a benchmark that one version lacks.
    """
    own = suite is None
    ci = chosen_ci(github, code_quality, junit)
    project = Path.cwd().resolve()

    def tell(finished: Finished) -> None:
        found = finished.found
        if ci.junit is not None:
            write(ci.junit, written(cases(finished), name=SUITE, seconds=found.seconds))
        code = found.code(finished.rules, strict=strict)
        ci.tell(
            findings(finished, project), summary(finished, code), otherwise=place, as_json=as_json
        )

    suites = tuple(suite or [OWN_SUITE])
    place = suites[0].partition("::")[0]
    try:
        asked = Request(
            base=base,
            head=head,
            project=project,
            suite=suites,
            paths=tuple(path or ()),
            options=(
                *(ALONE if own else ()),  # none of a folder's settings count for our own suite
                *(("-k", select) if select else ()),
            ),
            same_suite=same_suite,
            apart=apart,
        )
        rules = Rules(
            limit=share(max_regression, "--max-regression"),
            budget=seconds(budget, "--budget"),
            allow_missing=allow_missing,
            allow_counts=allow_counts,
            counts=tuple(count or ()),
        )
        shown = Shown(as_json=as_json, strict=strict, with_instructions=instructions)
        return run(asked, rules, shown, then=tell, line=ci.line)
    except Unusable as error:
        raise InputError(f"bench compare: {error}") from None
    except Empty as error:
        if select is None:
            raise InvalidRun(f"bench compare: {error}") from None
        raise InputError(
            f"-k {select}: no benchmark's name holds that; leave -k out to compare all"
        ) from None
    except Untrusted as error:
        tell_untrusted(ci, str(error), otherwise=place, as_json=as_json)
        raise InvalidRun(f"bench compare: {error}") from None
