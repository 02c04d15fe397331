"""Every option of every command, and what happens where it has no effect: never nothing.

A new option fails the first test until it stands in USED or IDLE.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from core.metrics.capacity import CapacityPlan
from core.metrics.record import read_record, write_record
from core.scenario.file import load_scenario, scenario_data
from edgeproof.group import ListedGroup
from edgeproof.main import app, main
from scenarios.catalogue import shipped
from sim.simulate import simulate

SCENARIO_COMMANDS = ("simulate", "plan", "serve", "load", "prove", "scenario check",
                     "scenario data")  # fmt: skip
JUDGING = ("simulate", "load", "prove", "report")
OF_DATABASES = (
    "attribute fit", "attribute store", "attribute recount", "queue status", "queue dead",
    "outbox status", "outbox dead",
)  # fmt: skip
PROBES = ("d1", "kv", "redis", "http")


ROOT = ("--help", "--version", "--install-completion", "--show-completion")
"""They end with what they print (tests/edgeproof/test_group.py)."""


def options() -> Iterator[tuple[str, str]]:
    """Yield every option of every command, by its first name."""

    def walk(command: object, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        assert hasattr(command, "params")
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.opts[0] not in ROOT:
                yield " ".join(path), parameter.opts[0]
        if isinstance(command, TyperGroup):
            for name, child in command.commands.items():
                listed = command if isinstance(command, ListedGroup) else None
                yield from walk(listed.load(name) if listed else child, (*path, name))

    return walk(typer.main.get_command(app), ())


# Options that have an effect in every run of their command, and which.
USED: dict[tuple[str, str], str] = {
    **{(c, "--trace"): "its keys replace the drawn ones" for c in SCENARIO_COMMANDS},
    **{
        (c, "--seed"): "arrivals, subjects, isolates and rows are drawn from it, and the scenario's"
        " hash holds it"
        for c in SCENARIO_COMMANDS
    },
    **{(c, "--rate"): "stages or the trace's times" for c in SCENARIO_COMMANDS[:2]},
    **{(c, "--rate"): "stages or the trace's times" for c in ("load", "prove", "scenario check")},
    **{
        (c, "--kpi"): "what is judged, and part of the scenario's hash"
        for c in ("simulate", "plan", "load", "prove", "scenario check")
    },
    **{
        (c, "--prices"): "what is charged, and part of the scenario's hash"
        for c in ("simulate", "plan", "load", "prove")
    },
    ("plan", "--rate"): "where the search begins",
    **{(c, "--calibration"): "the times of the prediction" for c in ("simulate", "plan", "prove")},
    ("prove", "--calibrate"): "whether the service is learned first",
    **{
        ("calibrate", o): "what is sent, and to whom; beside a run it is refused"
        for o in ("--host", "--seed", "--rate", "--set", "--calibration-rate",
                  "--calibration-time", "--max-rate", "--max-duration", "--ca", "--cert",
                  "--no-preflight", "--keep-going", "--resolve", "--token-command")
    },
    **{("calibrate", o): "what is written or printed" for o in ("--out", "--json")},
    ("scenario new", "--like"): "what is written; an unknown one is refused",
    ("scenario check", "--set"): "all fields are checked and hashed",
    ("prove", "--set"): "the prediction uses the service's fields, the load the others",
    **{(c, "--out"): "where files go" for c in ("simulate", "plan", "load", "prove", "report")},
    **{(c, "--out"): "where files go" for c in ("attribute", "scenario data")},
    **{(c, "--gate"): "what exits with 1" for c in ("simulate", "load", "prove")},
    **{(c, "--require"): "checked against the KPIs" for c in ("simulate", "load", "prove")},
    ("simulate", "--strict"): "predictions have intervals",
    ("simulate", "--one-run"): "which interval is shown and judged",
    ("simulate", "--isolates"): "what is shown; refused beside options of verdicts",
    **{(c, "--precision"): "how many replications there are" for c in ("simulate", "plan")},
    **{
        (c, "--engine"): "which of two engines simulates; the figures are the same"
        for c in ("simulate", "plan", "bench check")
    },
    **{
        ("verify", o): "what is checked, and how"
        for o in ("--only", "--quick", "--plant", "--json")
    },
    **{
        (c, "--json"): "what is printed"
        for c in (*JUDGING, "plan", "attribute", *OF_DATABASES, "queue retry", "outbox retry")
    },
    **{
        ("check-headers", o): words
        for o, words in (
            ("--header", "what is sent"), ("--scenario", "names the tiers of caches"),
            ("--timeout", "a bound"), ("--json", "what is printed"),
            ("--ca", "whom https trusts"), ("--cert", "who asks"),
        )
    },
    ("load", "--host"): "what is loaded",
    ("prove", "--host"): "what is loaded",
    **{
        (c, o): "a bound"
        for c in ("load", "prove")
        for o in ("--max-rate", "--max-duration", "--connections")
    },
    ("load", "--repeat"): "how many loads there are",
    ("load", "--find-capacity"): "what is looked for",
    **{("load", o): "who loads" for o in ("--processes", "--master", "--worker")},
    ("plan", "--max-rate"): "where the search ends",
    ("plan", "--fresh"): "which runs are simulated",
    ("plan", "--what-helps"): "whether changes are tried",
    ("plan", "--growth"): "what is forecast; refused where it is no growth",
    ("plan", "--today"): "where headroom and growth count from",
    **{
        ("sweep", o): "what is simulated, and where; in every run"
        for o in ("--over", "--replications", "--trace", "--seed", "--rate", "--kpi", "--prices",
                  "--calibration", "--engine", "--cluster", "--fresh")
    },
    **{
        ("size", o): "what is simulated, and where; in every run"
        for o in ("--field", "--from", "--to", "--replications", "--trace", "--seed", "--rate",
                  "--kpi", "--prices", "--calibration", "--engine", "--cluster", "--fresh")
    },
    **{(c, "--out"): "where files go" for c in ("size", "sweep")},
    **{(c, "--json"): "what is printed" for c in ("size", "sweep")},
    **{(c, "--token-command"): "a secret of the headers" for c in ("load", "prove")},
    **{(c, "--keep-going"): "whether a hopeless load ends" for c in ("load", "prove")},
    ("load", "--no-preflight"): "whether requests are sent ahead",
    **{("load", o): "how https hosts are reached" for o in ("--ca", "--cert")},
    **{("serve", o): "of the service" for o in ("--bind", "--port", "--data", "--redis")},
    **{
        ("serve", o): "limits of every connection"
        for o in ("--max-connections", "--idle-timeout", "--receive-timeout")
    },
    ("serve", "--on"): "what serves; an unknown one is refused",
    ("load", "--metrics-port"): "where the load is told of; a taken port is refused",
    ("serve", "--population"): "what an empty database gets; of a filled one it is refused",
    **{("attribute", o): "the data" for o in ("--db", "--database", "--paths")},
    **{
        (f"{room} {verb}", "--database"): "the data; beside --db it is refused"
        for room in ("queue", "outbox")
        for verb in ("status", "dead", "retry")
    },
    ("cost", "--prices"): "what a scenario and a finished run are charged",
    ("cost", "--json"): "what is printed",
    **{
        ("curve", o): "which accesses are read, and how; refused where they cannot be so"
        for o in ("--trace", "--format", "--columns", "--trace-limit")
    },
    **{
        ("curve", o): "what is counted"
        for o in ("--sizes", "--ttl", "--isolates", "--shuffles")
    },
    **{("curve", o): "what is written or printed" for o in ("--out", "--json")},
    **{
        (f"probe {c}", o): words
        for c in PROBES
        for o, words in (
            ("--samples", "how many operations there are"),
            ("--concurrency", "how many are made at a time"), ("--time", "a bound"),
            ("--out", "where files go"), ("--json", "what is printed"),
        )
    },
    **{(f"probe {c}", "--max-cost"): "a bound" for c in ("d1", "kv")},
    **{
        ("attribute", o): words
        for o, words in (
            ("--shapley", "a model beside the others"), ("--costs", "what is read"),
            ("--against", "what is compared"), ("--holdout", "what models are checked on"),
            ("--export", "which files are written; refused where none are"),
        )
    },
    **{
        ("import events", o): "what is read, and how; refused where it cannot be so"
        for o in ("--db", "--columns", "--conversion", "--touch", "--currency", "--format",
                  "--no-header", "--time-unit", "--time-zone", "--time-format", "--json")
    },
    **{
        ("import log", o): "what is read, and how; refused where it cannot be so"
        for o in ("--format", "--log-format", "--fields", "--columns", "--time-unit",
                  "--duration-unit", "--rules", "--endpoint", "--ignore-agent", "--keep-ids")
    },
    ("import log", "--window"): "which part of a long log is run",
    **{("import log", o): "what is written or printed" for o in ("--out", "--force", "--json")},
    ("attribute", "--model"): "what is computed; an unknown one is refused",
    ("attribute", "--direct"): "what it finds is said by attribution",
    **{
        ("attribute fit", o): "part of the fitted model"
        for o in ("--db", "--order", "--min-conversions", "--lookback", "--direct", "--own-event",
                  "--most-channels")
    },
    **{("attribute store", o): "the data and the parameters" for o in ("--db", "--scenario")},
    **{("attribute recount", o): "the data, and what is done" for o in ("--db", "--repair")},
    **{(c, "--db"): "the data" for c in OF_DATABASES[3:]},
    **{(f"{c} retry", "--db"): "the data" for c in ("queue", "outbox")},
    **{(f"{c} retry", "--id"): "an unknown one is refused" for c in ("queue", "outbox")},
    **{
        (c, o): "what CI systems are told"
        for c in (*JUDGING, "plan", "compare", "bench check", "bench compare")
        for o in ("--github", "--code-quality")
    },
    **{("compare", o): "what exits with 1 or 4" for o in ("--max-regression", "--strict")},
    **{("compare", o): "what is written or printed" for o in ("--out", "--json", "--markdown")},
    ("bench compare", "--junit"): "where test cases go",
    ("bench run", "-k"): "none that holds it is refused",
    ("bench run", "--json"): "where figures go",
    ("bench run", "--save"): "where the run is appended",
    **{
        ("bench history", o): words
        for o, words in (
            ("-k", "none that holds it is refused"), ("--absolute", "what is shown and judged"),
            ("--at-least", "what is left out"), ("--out", "where the figure goes"),
            ("--json", "what is printed"),
        )
    },
    **{("bench run", o): "how long is measured" for o in ("--precision", "--max-time")},
    **{(f"bench {c}", "--reason"): "kept; if empty refused" for c in ("accept", "accept-base")},
    **{
        (f"bench {c}", o): words
        for c in ("check", "accept")
        for o, words in (
            ("--golden", "where golden files lie"), ("--trace", "its keys replace the drawn ones"),
            ("--json", "what is printed"),
        )
    },
    ("bench check", "--junit"): "where the cases go",
    **{
        ("bench compare", o): "what is compared, and how"
        for o in ("--suite", "-k", "--path", "--same-suite", "--apart", "--instructions")
    },
    **{
        ("bench compare", o): "what fails"
        for o in ("--max-regression", "--allow-missing", "--allow-counts", "--count", "--strict")
    },
    ("bench promise", "-k"): "none that holds it is refused",
    ("bench promise", "--budget"): "a bound",
    ("bench promise", "--strict"): "what exits with 4",
    ("bench promise", "--json"): "what is printed",
    **{
        ("bench calibrate", o): "what is tried"
        for o in ("--suites", "--slowdowns", "--max-regression", "--apart")
    },
    ("bench compare-base", "--budget"): "a bound",
    **{
        (f"bench {c}", o): words
        for c in ("compare", "calibrate")
        for o, words in (("--budget", "a bound"), ("--json", "what is printed"))
    },
}  # fmt: skip

# Command lines on which an option has no effect, and the line that says so. All of them end with
# exit code 2 at the latest for another reason: a folder that is no folder, a host that is none.
NO_FOLDER = "--out FILE"
NO_HOST = "--host http://127.0.0.1:1"
Case = tuple[str, str]


def lines(*arguments: str) -> dict[str, str]:
    """Return for each scenario command how it is called so that it ends before it runs."""
    rest = " ".join(arguments)
    return {
        "simulate": f"simulate baseline {rest} {NO_FOLDER}",
        "plan": f"plan baseline {rest} {NO_FOLDER}",
        "sweep": f"sweep baseline --over tiers.l1.max_entries=1 {rest} {NO_FOLDER}",
        "size": f"size baseline --field tiers.l1.max_entries {rest} {NO_FOLDER}",
        "prove": f"prove baseline {rest} {NO_FOLDER}",
        "load": f"load baseline {rest} {NO_HOST}",
        "serve": f"serve baseline {rest} --data FILE",
        "scenario check": f"scenario check baseline {rest}",
        "scenario data": f"scenario data baseline {rest} {NO_FOLDER}",
    }


def each(option: str, arguments: str, words: str) -> dict[tuple[str, str], Case]:
    """Return the case of *option* for every scenario command."""
    return {(c, option): (line, words) for c, line in lines(arguments).items()}


PLAIN = "--plain has no effect with --json"
IDLE: dict[tuple[str, str], Case] = {
    ("verify", "--plain"): ("verify --plain --json --only nothing", PLAIN),
    **each("--trace-offset", "--trace-offset 5", "trace.offset needs a trace"),
    **each("--trace-limit", "--trace-limit 5", "trace.limit needs a trace"),
    **each("--time-unit", "--time-unit ms", "trace.time_unit needs a trace"),
    **each("--format", "--format twitter", "trace.format needs a trace"),
    **each("--columns", "--columns key=1", "trace.columns needs a trace"),
    **{
        key: case
        for key, case in each(
            "--set", "--set destination.url=none --set destination.timeout=1s",
            "destination.timeout has no effect: there is no destination.url",
        ).items()
        if key not in (("scenario check", "--set"), ("prove", "--set"))
    },
    **{
        (c, "--plain"): (f"{lines('--plain --json')[c]}", PLAIN)
        for c in ("simulate", "plan", "sweep", "size", "load", "prove")
    },
    **{
        (f"bench {c}", f"--{option}"): (
            f"bench {c} baseline --golden FILE --{option} {value}"
            + (" --reason x" if c == "accept" else ""),
            f"trace.{option.removeprefix('trace-').replace('-', '_')} needs a trace",
        )
        for c in ("check", "accept")
        for option, value in (
            ("trace-offset", 5), ("trace-limit", 5), ("time-unit", "ms"), ("format", "twitter"),
            ("columns", "key=1"),
        )
    },
    ("calibrate", "--plain"): (f"calibrate baseline {NO_HOST} --plain --json", PLAIN),
    **{
        ("calibrate", option): (f"calibrate baseline {NO_HOST} {option} {value}", words)
        for option, value, words in (
            ("--i-am-allowed-to-load", "example.com",
             "--i-am-allowed-to-load example.com: --host names 127.0.0.1"),
            ("--cert-key", "FILE", "a key without its certificate"),
            ("--insecure", "", "--insecure has no effect: no --host is an https URL"),
            ("--token-refresh", "5m", "without --token-command"),
        )
    },
    ("compare", "--plain"): ("compare nowhere nowhere --plain --json", PLAIN),
    ("report", "--plain"): ("report nowhere --plain --json", PLAIN),
    **{
        (c, "--plain"): (
            f"{c} --db FILE --plain --json" + (" --scenario baseline" if "store" in c else ""),
            PLAIN,
        )
        for c in OF_DATABASES[:3]
    },
    ("import events", "--plain"): (
        "import events FILE --db FILE --columns user=none --plain --json", PLAIN
    ),
    ("import log", "--plain"): ("import log FILE --out NEW.toml --plain --json", PLAIN),
    ("attribute", "--plain"): ("attribute --paths FILE --plain --json", PLAIN),
    ("load", "--step"): (lines("--step 5s")["load"], "--step: belongs to --find-capacity"),
    **{
        ("load", option): (lines(f"{option} {value}")["load"], f"{option}: belongs to --master")
        for option, value in (("--bind", "::1"), ("--port", 9), ("--expect-workers", 2))
    },
    ("load", "--strict"): (lines("--strict")["load"], "--strict has no effect here"),
    ("prove", "--strict"): (lines("--strict")["prove"], "--strict has no effect here"),
    ("report", "--strict"): ("report PLAN --strict", "--strict: PLAN is a plan"),
    ("report", "--gate"): ("report RUN --gate model", "there is no prediction and measurement"),
    ("report", "--require"): ("report PLAN --require hit_ratio", "--require: PLAN is a plan"),
    ("load", "--i-am-allowed-to-load"): (
        lines("--i-am-allowed-to-load example.com")["load"],
        "--i-am-allowed-to-load example.com: --host names 127.0.0.1",
    ),
    ("prove", "--i-am-allowed-to-load"): (
        lines("--i-am-allowed-to-load example.com")["prove"],
        "--i-am-allowed-to-load example.com: no --host is given",
    ),
    **{
        ("prove", option): (lines(f"{option} {value}")["prove"], f"{option}: no --host is given")
        for option, value in (
            ("--ca", "FILE"), ("--insecure", ""), ("--cert", "FILE"), ("--cert-key", "FILE"),
            ("--resolve", "a:1:127.0.0.1"), ("--no-preflight", ""),
        )
    },
    **{
        (c, "--token-refresh"): (lines("--token-refresh 5m")[c], "without --token-command")
        for c in ("load", "prove")
    },
    ("check-headers", "--insecure"): (
        "check-headers http://127.0.0.1:1/ --insecure", "--insecure has no effect: URL is no https",
    ),
    ("check-headers", "--cert-key"): (
        "check-headers http://127.0.0.1:1/ --cert-key FILE", "a key without its certificate",
    ),
    ("check-headers", "--resolve"): (
        "check-headers http://127.0.0.1:1/ --resolve a:1:127.0.0.1",
        "--resolve a:1: URL asks for 127.0.0.1:1",
    ),
    ("load", "--insecure"): (
        lines("--insecure")["load"], "--insecure has no effect: no --host is an https URL",
    ),
    ("load", "--cert-key"): (lines("--cert-key FILE")["load"], "a key without its certificate"),
    ("load", "--resolve"): (
        lines("--resolve a:1:127.0.0.1")["load"], "--resolve a:1: no --host asks for it",
    ),
    ("serve", "--rate"): (
        lines("--rate 9 --set start=cold")["serve"], "--rate 9 has no effect on serve",
    ),
    ("scenario data", "--rate"): (
        lines("--rate 9")["scenario data"], "--rate 9 has no effect on data",
    ),
    ("serve", "--workers"): (
        lines("--workers 2 --set topology.processes=3")["serve"],
        "--set topology.processes=3 has no effect on processes: --workers 2",
    ),
    **{
        ("serve", option): (
            f"serve baseline --on workerd {option} {value}",
            f"{option} has no effect on --on workerd",
        )
        for option, value in (
            ("--database", "d1"), ("--synchronous", "full"), ("--otlp", "http://127.0.0.1:1"),
        )
    },
    ("prove", "--on"): (
        f"prove baseline --on workerd {NO_HOST}", "--host and --on contradict each other",
    ),
    **{
        ("cost", option): (
            f"cost RUN {option} {value}".strip(), f"{option} has no effect on RUN, a finished run",
        )
        for option, value in (
            ("--trace", "FILE"), ("--seed", 3), ("--rate", 9), ("--set", "duration=3s"),
            ("--calibration", "FILE"), ("--over", "seed=1,2"), ("--bill-only", ""),
            ("--engine", "reference"), ("--out", "NEW"),
        )
    },
    ("cost", "--plain"): (f"cost baseline --plain --json {NO_FOLDER}", PLAIN),
    ("curve", "--seed"): (
        "curve --trace TRACE.csv --shuffles 0 --seed 3 --json", "--seed 3 has no effect",
    ),
    **{
        ("curve", option): (
            f"curve --trace TRACE.csv {option} {value} --json", f"{option} has no effect",
        )
        for option, value in (
            ("--rate", 9), ("--time-unit", "ms"), ("--l2-ttl", 2), ("--aim", "85%"),
            ("--replications", 3), ("--quick", ""), ("--set", "seed=2"), ("--trace-offset", 2),
        )
    },
    **{
        ("curve", option): (
            f"curve baseline {option} {value} --json", f"{option} has no effect on a scenario",
        )
        for option, value in (("--policies", "LRU"), ("--warm-up", "20%"))
    },
    ("curve", "--plain"): ("curve --trace NOWHERE --plain --json", PLAIN),
    **{
        (f"probe {c}", "--plain"): (f"probe {c} {url} --plain --json --time 0s", PLAIN)
        for c, url in (
            ("d1", ""), ("kv", ""), ("redis", "redis://127.0.0.1:1/0"),
            ("http", "http://127.0.0.1:1/"),
        )
    },
    **{
        (f"probe {c}", "--i-am-allowed-to-load"): (
            f"probe {c} {c}://127.0.0.1:1/ --i-am-allowed-to-load example.com",
            "--i-am-allowed-to-load example.com: the URL names 127.0.0.1",
        )
        for c in ("redis", "http")
    },
    **{
        (f"attribute {c}", "--database"): (
            f"attribute {c} --database d1", f"{c} needs a local file",
        )
        for c in ("fit", "store", "recount")
    },
    ("serve", "--emulation"): (
        "serve kv-outage --no-emulation --data FILE", "tiers do not strike",
    ),
    **{
        ("attribute", option): (
            f"attribute --db FILE --model linear {option} {value}".strip(),
            f"{option} has no effect",
        )
        for option, value in (
            ("--order", "2"), ("--without-nulls", ""), ("--min-conversions", "5"),
            ("--bootstrap", "20"), ("--most-channels", "5"), ("--half-life", "2d"),
            ("--u-shape", "40/20/40"), ("--w-shape", "30/30/30/10"), ("--lead", "a"),
            ("--opportunity", "a"),
        )
    },
    ("attribute", "--seed"): (
        "attribute --paths FILE --seed 3", "--seed 3: it draws the resamples",
    ),
    **{
        ("attribute", option): (
            f"attribute --db FILE {option} NAME", f"{option} needs --paths",
        )
        for option in (
            "--joiner", "--path-column", "--conversions-column", "--value-column",
            "--nulls-column", "--count-column", "--direct-channel",
        )
    },
    **{
        ("attribute", option): (
            f"attribute --paths FILE {option} {value}".strip(), f"{option} needs --db",
        )
        for option, value in (
            ("--by", "week"), ("--from", "2026-01-01"), ("--to", "2026-01-01"),
            ("--lookback", "2d"),
            ("--own-event", ""), ("--jobs", "2"),
        )
    },
}  # fmt: skip

# Those that ask a database are tried where there is one, below.
ASKED = {(c, "--plain") for c in OF_DATABASES[3:]}


def test_every_option_has_a_line_in_these_tables() -> None:
    known = {*USED, *IDLE, *ASKED}
    assert sorted(set(options()) - known) == []
    assert sorted(known - set(options())) == []
    assert not {*USED} & {*IDLE}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a FILE, a PLAN, a RUN and a TRACE.csv."""
    folder = tmp_path_factory.mktemp("options")
    (folder / "FILE").write_text("nothing")
    (folder / "TRACE.csv").write_text("time,key\n0,a\n1,b\n2,a\n")
    (folder / "PLAN").mkdir()
    plan = CapacityPlan(
        scenario="p", scenario_hash="0", seed=1, replications=1, kpis=(), points=(),
        highest_rate=None, breaking_rate=None, breaks_first=(),
    )  # fmt: skip
    (folder / "PLAN" / "plan.json").write_text(json.dumps(plan.to_json()))
    (folder / "RUN").mkdir()
    scenario = load_scenario(
        shipped()["baseline"], overrides=["duration=1s", "warm_up=0s", "traffic.users=9"], rate=20.0
    )
    write_record(simulate(scenario, replications=0).record, folder / "RUN" / "record.json")
    assert read_record(folder / "RUN" / "record.json").scenario == scenario_data(scenario)
    return folder


def said(
    arguments: Sequence[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    home: Path,
) -> str:
    monkeypatch.chdir(home)
    monkeypatch.delenv("EDGEPROOF_TOKEN", raising=False)
    before = sorted(home.rglob("*"))
    assert main(arguments) == 2
    assert sorted(home.rglob("*")) == before
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


@pytest.mark.parametrize(("command", "option"), IDLE, ids=lambda text: text)
def test_option_without_effect_is_refused_or_said(
    command: str,
    option: str,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line, words = IDLE[command, option]
    err = said(line.split(), capsys, monkeypatch, home)
    assert [part for part in err.splitlines() if words in part], err
    assert all(part.startswith("edgeproof: ") for part in err.splitlines())


@pytest.mark.parametrize("room", ["queue", "outbox"])
@pytest.mark.parametrize("verb", ["status", "dead"])
def test_plain_is_said_to_do_nothing_beside_json(
    room: str, verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from core.query.database import SqliteDatabase

    path = tmp_path / "cdp.sqlite"
    SqliteDatabase(path, inline=True).connection.close()
    assert main([room, verb, "--db", str(path), "--plain", "--json"]) == 0
    shown = capsys.readouterr()
    json.loads(shown.out)
    assert PLAIN in shown.err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("load --set tiers.l1.ttl=9s", "--set tiers.l1.ttl=9s has no effect on load: it describes"),
        ("load --set start=cold", "--set start=cold has no effect on load"),
        (
            "simulate --set endpoints.track.path=/t",
            "has no effect on simulate: no request is written",
        ),
        ("plan --set tiers.l3.readers=2", "has no effect on plan: no simulated time depends on it"),
        ("serve --set kpis[0].target=>=90%", "has no effect on serve: nothing is judged here"),
        ("serve --set duration=9s", "has no effect on serve: it serves until Ctrl-C"),
        ("scenario_data --set tiers.l1.ttl=9s", "has no effect on data: the rows do not depend"),
    ],
)
def test_field_that_a_command_does_not_use_is_said(
    line: str,
    words: str,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command, *arguments = line.split()
    full = lines(*arguments)[command.replace("_", " ")]
    assert words in said(full.split(), capsys, monkeypatch, home)


def test_field_that_a_command_uses_is_not_spoken_of(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in ("simulate", "load", "serve"):
        full = lines("--set traffic.users=50 --set traffic.conversion_share=0.1")[command]
        assert "has no effect" not in said(full.split(), capsys, monkeypatch, home)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://[::1", "--host http://[::1: not a URL (Invalid IPv6 URL); write http://host:port"),
        ("x.example", "--host x.example: not an http or https URL; write http://host:port"),
    ],
)
@pytest.mark.parametrize("command", ["load", "prove"])
def test_faulty_url_is_named_beside_the_host_that_may_be_loaded(
    command: str,
    url: str,
    words: str,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = [command, "baseline", "--host", url, "--i-am-allowed-to-load", "x.example"]
    assert said(arguments, capsys, monkeypatch, home) == f"edgeproof: {words}\n"


def test_value_that_an_option_does_not_know_is_named_with_those_that_it_knows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["simulate", "baseline", "--engine", "fast"]) == 2
    said = capsys.readouterr().err
    assert "'--engine': 'fast' is not one of 'reference', 'compiled', 'auto'." in said
    assert "Value error" not in said
