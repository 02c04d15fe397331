"""Claims about promises: KEPT, BROKEN, UNDECIDED or NOT MEASURED, and the exit code of each."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from statistics import median
from time import monotonic

import pytest

from bench.halves import Speeds
from bench.paired import paired_ratio
from bench.promise import LOOKS, Pairs, Promise, Timer, Verdict, Word, judged
from bench.promises import PROMISES
from core.context import Purpose
from core.streams import Stream
from edgeproof.main import main
from edgeproof.promise import Held, exit_code, hold, table
from edgeproof.promised import Crashed, InTurns, TimeUp, block_of

LIMIT = 600.0
"""Seconds: no measuring process of a test takes that long."""


def promise(**changes: object) -> Promise:
    facts = {"name": "planted", "says": "ours", "limit": 1.2, "measure": lambda _: []} | changes
    return Promise(**facts)  # type: ignore[arg-type]  # what tests change is typed where it is read


def planted(ratio: float, *, spread: float = 0.02) -> list[Pairs]:
    """Return blocks of pairs around *ratio*; half of each block's spread is the block's own."""
    draws = Stream(7, Purpose.DATA, width=21).rows(0, LOOKS[0]).tolist()
    return [
        [(100.0, 100.0 * ratio * (1 + spread * (own + each - 1))) for each in draws]
        for own, *draws in draws
    ]


@pytest.mark.parametrize(
    ("ratio", "spread", "word"),
    [(1.0, 0.02, Word.KEPT), (1.4, 0.02, Word.BROKEN), (1.2, 0.2, Word.UNDECIDED)],
)
def test_verdict_is_that_of_the_whole_interval(ratio: float, spread: float, word: Word) -> None:
    verdict = judged(promise(), planted(ratio, spread=spread))
    assert verdict.word is word
    assert verdict.ratio is not None
    assert verdict.ratio.low <= ratio * 1.02
    assert verdict.ratio.high >= ratio * 0.98


def test_what_one_look_alone_would_decide_stays_open() -> None:
    blocks = planted(1.0)
    ratios = [[ours / base for base, ours in block] for block in blocks]
    alone, corrected = paired_ratio(ratios), paired_ratio(ratios, confidence=1 - 0.05 / len(LOOKS))
    for near, far, word in (
        (alone.high, corrected.high, Word.KEPT), (alone.low, corrected.low, Word.BROKEN),
    ):  # fmt: skip
        assert near != far
        assert judged(promise(limit=(near + far) / 2), blocks).word is Word.UNDECIDED
        beyond = far + (far - near)
        assert judged(promise(limit=beyond), blocks).word is word


def test_too_few_processes_decide_nothing_and_the_reason_says_so() -> None:
    verdict = judged(promise(), planted(0.5)[:-1])
    assert verdict.word is Word.UNDECIDED
    assert verdict.reason == "7 of at least 8 processes were measured; give a larger --budget"


@pytest.mark.parametrize("odd", [0.0, math.nan, math.inf, -1.0])
@pytest.mark.parametrize("side", [0, 1])
def test_a_time_that_is_no_positive_number_is_never_a_pass(odd: float, side: int) -> None:
    blocks = [list(block) for block in planted(0.5)]
    blocks[3][2] = (odd, 1.0) if side == 0 else (1.0, odd)
    assert judged(promise(), blocks) == Verdict(
        word=Word.UNDECIDED, reason="a time is no positive number"
    )


def test_processes_with_fewer_turns_count_as_much_as_the_others() -> None:
    blocks = planted(1.0)
    blocks[0] = blocks[0][:5]
    verdict = judged(promise(), blocks)
    assert verdict.ratio is not None
    assert verdict.ratio.pairs == 5 * len(blocks)
    assert judged(promise(), [*blocks[1:], []]).reason == "a process measured nothing"


def held(of: Promise, blocks: Callable[[int], Pairs], *, budget: float = 1e9) -> Held:
    one = Held(promise=of)
    now = iter(range(10_000))
    hold(
        [one], budget=budget, measure=lambda _, number, __: blocks(number), clock=lambda: next(now),
        speeds=Speeds(work=lambda: 1.0),
    )  # fmt: skip
    return one


@pytest.mark.parametrize(("ratio", "word"), [(0.9, Word.KEPT), (1.5, Word.BROKEN)])
def test_what_is_decided_is_measured_no_further(ratio: float, word: Word) -> None:
    one = held(promise(), lambda number: planted(ratio)[number])
    assert (one.verdict.word, len(one.blocks)) == (word, LOOKS[0])


def test_what_stays_open_is_measured_to_the_last_look() -> None:
    one = held(promise(), lambda number: planted(1.2, spread=0.2)[number % LOOKS[0]])
    assert (one.verdict.word, len(one.blocks)) == (Word.UNDECIDED, LOOKS[-1])


def test_budget_ends_the_measurement_with_what_is_there() -> None:
    one = held(promise(), lambda number: planted(0.9)[number], budget=10.0)
    assert 0 < len(one.blocks) < LOOKS[0]
    assert one.verdict.word is Word.UNDECIDED
    assert "larger --budget" in one.verdict.reason


def test_process_whose_time_is_up_adds_nothing() -> None:
    def measure(number: int) -> Pairs:
        raise TimeUp

    one = held(promise(), measure, budget=50.0)
    assert (one.blocks, one.verdict.word) == ([], Word.UNDECIDED)


def test_process_that_ends_early_leaves_the_other_promises(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def block_of(promise: Promise, number: int, _: float) -> Pairs:
        if promise.name == "bad" and number:
            raise Crashed("exit code 1: WrongAnswer: odd")
        return planted(1.0)[number]

    both = (promise(name="bad"), promise(name="good"))
    monkeypatch.setattr("edgeproof.promise.PROMISES", both)
    monkeypatch.setattr("edgeproof.promise.block_of", block_of)
    assert main(["bench", "promise", "--json"]) == 3
    data = json.loads(capsys.readouterr().out)
    assert data["exit_code"] == 3
    bad, good = data["promises"]
    assert (bad["verdict"], bad["reason"]) == ("NOT MEASURED", "exit code 1: WrongAnswer: odd")
    assert (bad["processes"], good["verdict"]) == (1, "KEPT")


def test_missing_program_is_not_measured_and_named() -> None:
    one = held(promise(lacks=lambda: "no redis-server on the PATH"), lambda _: 1 / 0)  # type: ignore[arg-type,return-value]  # never called
    assert (one.verdict.word, one.blocks) == (Word.NOT_MEASURED, [])
    lines = list(table([one]))
    assert lines[1].endswith("NOT MEASURED")
    assert lines[2] == "planted NOT MEASURED: no redis-server on the PATH"
    assert lines[3] == "1 NOT MEASURED. 0 processes."


def test_a_rate_is_shown_as_a_rate() -> None:
    of = promise(limit=1.0, rate=(50e6, "touches/s"))
    lines = list(table([held(of, lambda number: planted(0.5, spread=0.0)[number])]))
    assert lines[1].split()[2:] == [">=", "50", "M", "touches/s", "100.0", "M", "100.0", "to",
                                    "100.0", "M", "KEPT"]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "strict", "ci", "code"),
    [
        ("KEPT", False, "", 0),
        ("KEPT BROKEN UNDECIDED", True, "true", 1),
        ("KEPT UNDECIDED", False, "true", 0),
        ("KEPT UNDECIDED", True, "", 4),
        ("KEPT NOT_MEASURED", False, "", 0),
        ("KEPT NOT_MEASURED", True, "", 4),
        ("KEPT NOT_MEASURED", False, "true", 4),
        ("KEPT NOT_MEASURED", False, "1", 4),
        ("KEPT NOT_MEASURED", False, "false", 0),
    ],
)
def test_the_verdicts_decide_the_exit_code(words: str, strict: bool, ci: str, code: int) -> None:
    verdicts = [Verdict(word=Word[word]) for word in words.split()]
    assert exit_code(verdicts, strict=strict, environment={"CI": ci}) == code


class TestProcesses:
    """Each promise is measured by a process of its own."""

    @pytest.mark.parametrize("name", ["l1-hit", "span", "request-spans"])
    def test_a_process_returns_pairs_of_positive_times(self, name: str) -> None:
        of = next(one for one in PROMISES if one.name == name)
        if of.lacks():
            pytest.skip(of.lacks())
        pairs = block_of(of, 1, monotonic() + LIMIT, rounds=4)
        assert len(pairs) == 4
        assert all(base > 0 and ours > 0 for base, ours in pairs)

    def test_fault_of_the_process_is_passed_on(self) -> None:
        with pytest.raises(Crashed, match=r"exit code 1: .*StopIteration"):
            block_of(promise(name="unheard-of"), 0, monotonic() + LIMIT)

    def test_a_time_limit_ends_the_process(self) -> None:
        with pytest.raises(TimeUp):
            block_of(PROMISES[0], 0, 0.0)

    def test_turns_find_a_planted_ratio(self) -> None:
        def timer(nanoseconds: float) -> Timer:
            return lambda calls: nanoseconds

        turns = InTurns(10, number=1)
        pairs = turns(timer(100.0), timer(150.0))
        assert {*pairs} == {(100.0, 150.0)}
        assert 2 <= len(pairs) <= 10  # fewer where the processor is taken away
        assert median(b / a for a, b in turns(timer(1e6), timer(2e6), calls=3)) == 2.0


def test_names_are_told_apart_and_an_unknown_one_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [one.name for one in PROMISES]
    assert len({*names}) == len(names)
    assert main(["bench", "promise", "-k", "l3"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("edgeproof: bench promise: -k l3: no promise's name holds that; of l1-h")
    assert main(["bench", "promise", "--budget", "soon"]) == 2
    assert "--budget soon: is no time above 0" in capsys.readouterr().err


def test_command_prints_json_and_says_what_time_did_not_suffice_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["bench", "promise", "-k", "l1", "--budget", "0.001s", "--json", "--strict"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == 4
    assert {one["name"] for one in found["promises"]} == {"l1-hit"}
    assert all(one["processes"] == 0 and one["ratio"] is None for one in found["promises"])
