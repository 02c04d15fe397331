"""Claims about annotations and Code Quality entries, whatever their texts hold."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from reports.finding import Finding, code_quality, inert, workflow_commands
from tests.ci.github import MOST_ISSUES, commands

TEXTS = st.text(st.sampled_from("ab %:,=\n\r;|`#[]\x1b\x85\u2028\ud800é✗0AD235"), max_size=30)
EVIL = "a\n::add-mask::b\r::error::c ##[debug]d %0A::warning::e"


def finding(**changes: object) -> Finding:
    known: dict[str, object] = {
        "level": "error", "severity": "major", "check": "kpi", "subject": "p95_track",
        "title": "p95_track: FAIL", "message": "is 3 ms",
    }  # fmt: skip
    return Finding(**{**known, **changes})  # type: ignore[arg-type]  # what a test varies


def test_an_annotation_names_file_line_title_and_message() -> None:
    (line,) = workflow_commands([finding(path="a/b.toml", line=3)])
    assert line == "::error file=a/b.toml,line=3,title=p95_track%3A FAIL::is 3 ms"
    (line,) = workflow_commands([finding(level="warning", line=3)])
    assert line == "::warning title=p95_track%3A FAIL::is 3 ms"  # no line without its file


@given(TEXTS, TEXTS, TEXTS)
def test_no_text_becomes_a_second_command_or_property(path: str, title: str, message: str) -> None:
    found = finding(path=path or "x", line=1, title=title or "x", message=message)
    shown = "\n".join(workflow_commands([found]))
    assert shown.encode("utf-8")  # a terminal takes it
    (command,) = commands(shown)
    assert command.name == "error"
    assert command.properties.keys() == {"file", "line", "title"}
    assert command.properties["line"] == "1"
    if message.isprintable():
        assert command.message == message


def test_a_hostile_text_is_the_message_of_one_command() -> None:
    (line,) = workflow_commands([finding(title=EVIL, message=EVIL, path=EVIL)])
    (command,) = commands(line)
    assert command.message == EVIL.replace("\r", "\\r")
    assert "\n" not in command.properties["title"]


@given(TEXTS)
def test_a_line_that_others_wrote_is_no_command(text: str) -> None:
    for line in (
        text,
        f"::{text}",
        f" ::error {text}::x",
        f"a ##[error]{text}",
        "a\r::add-mask::a",
    ):
        assert commands(inert(line)) == []


def test_an_ordinary_line_stays_as_it_is() -> None:
    for line in ("test_a.py::test_b[1]  2 ms", "# heading", "## [x]", "a: b"):
        assert inert(line) == line


def test_github_shows_ten_of_a_level_and_the_last_says_how_many_more() -> None:
    errors = [finding(subject=f"k{n}") for n in range(12)]
    warnings = [finding(level="warning", subject=f"w{n}") for n in range(MOST_ISSUES)]
    told = commands("\n".join(workflow_commands([*errors, *warnings])))
    assert [one.name for one in told] == ["error"] * 10 + ["warning"] * 10
    assert told[9].properties == {"title": "3 more errors"}
    assert told[9].message == "k9, k10, k11"
    assert "more" not in told[-1].properties["title"]


def test_code_quality_has_what_gitlab_asks_for() -> None:
    found = [finding(path="a.toml", line=4), finding(subject="other"), finding(message="b\x1b\nc")]
    entries = json.loads(code_quality(found, otherwise="scenarios/x.toml"))
    for entry in entries:
        assert entry.keys() == {
            "description", "check_name", "fingerprint", "severity", "location",
        }  # fmt: skip
        assert entry["severity"] in ("info", "minor", "major", "critical", "blocker")
    assert entries[0]["location"] == {"path": "a.toml", "lines": {"begin": 4}}
    assert entries[1]["location"] == {"path": "scenarios/x.toml", "lines": {"begin": 1}}
    assert entries[2]["description"] == r"b\x1b c"
    assert json.loads(code_quality([], otherwise="x")) == []


def test_fingerprints_are_stable_and_no_two_alike() -> None:
    one, other = finding(message="is 3 ms", line=3), finding(message="is 4 ms", line=9)

    def prints(*findings: Finding) -> list[str]:
        entries = json.loads(code_quality(findings, otherwise="x"))
        return [entry["fingerprint"] for entry in entries]

    assert prints(one) == prints(other)  # the same fault with another figure, elsewhere
    assert len({*prints(one, other, finding(subject="p95_query"), finding(path="y"))}) == 4
    assert prints(one, other) == prints(one, other)
