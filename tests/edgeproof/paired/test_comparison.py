"""Claims about the comparison on a made-up machine: budget, confirmation, what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from edgeproof.paired.comparison import MOST, Empty, Untrusted, compare
from edgeproof.paired.processes import Crashed, Event, Task, Turn
from edgeproof.paired.result import Rules, as_json
from edgeproof.paired.table import lines
from edgeproof.paired.verdicts import FEWEST, Word
from tests.edgeproof.paired.made_up_machine import TASK, Machine


def test_a_slowdown_fails_and_its_neighbour_passes() -> None:
    machine = Machine(same=1.0, slow=1.3, fast=0.8)
    found = machine.compared()
    verdicts = {row.name: (row.verdict.word, row.is_regression) for row in found.rows}
    assert verdicts == {
        "same": (Word.SAME, False), "slow": (Word.SLOWER, True), "fast": (Word.FASTER, False),
    }  # fmt: skip
    assert found.code(Rules(), strict=False) == 1
    assert machine.turns[-1].only == ("slow",)  # only what reads as slower is confirmed


@pytest.mark.parametrize(("ratio", "code"), [(1.02, 0), (1.03, 0), (1.048, 1), (1.05, 1)])
def test_the_limit_is_what_is_found_and_clearly_less_passes(ratio: float, code: int) -> None:
    machine = Machine(slower=ratio)
    machine.between = 0.001
    found = machine.compared(limit=0.05)
    assert found.rows[0].verdict.word is Word.SLOWER
    assert found.rows[0].verdict.processes >= 2 * FEWEST  # those that confirmed it count, too
    assert found.code(Rules(), strict=True) == code


def test_what_fresh_processes_do_not_confirm_is_no_regression() -> None:
    class Once(Machine):
        def ratio(self, name: str) -> float:
            return 1.3 if len(self.turns) <= FEWEST else 1.0

    found = Once(flaky=1.0).compared()
    row = found.rows[0]
    assert not row.is_regression
    assert row.verdict.word is Word.UNDECIDED
    assert row.verdict.reason
    assert found.code(Rules(), strict=False) == 0


def test_both_orders_of_loading_and_of_turns_are_used_alike() -> None:
    machine = Machine(same=1.0)
    machine.compared()
    orders = [(t.is_head_loaded_first, t.is_turned) for t in machine.turns[:FEWEST]]
    assert {orders.count(order) for order in set(orders)} == {FEWEST // 4}


def test_only_what_is_undecided_is_measured_further() -> None:
    class Noisy(Machine):
        def ratio(self, name: str) -> float:
            wave = 1.25 if len(self.turns) % 2 else 0.8
            return wave if name == "noisy" else 1.0

    machine = Noisy(noisy=1.0, same=1.0)
    found = machine.compared(budget=1_000.0)
    assert {turn.only for turn in machine.turns[FEWEST:]} == {("noisy",)}
    assert len(machine.turns) <= 2 * MOST
    words = {row.name: row.verdict.word for row in found.rows}
    assert words == {"noisy": Word.UNDECIDED, "same": Word.SAME}
    assert found.code(Rules(), strict=False) == 0
    assert found.code(Rules(), strict=True) == 4


def test_the_budget_holds_and_too_few_processes_decide_nothing() -> None:
    machine = Machine(slow=3.0)
    machine.seconds = 10.0
    found = machine.compared(budget=45.0)
    assert machine.now <= 46.0
    assert [row.verdict.word for row in found.rows] == [Word.UNDECIDED]
    assert "larger budget" in "\n".join(lines(found, Rules(), {}))


def test_a_slowdown_that_could_not_be_confirmed_in_time_is_undecided_and_said() -> None:
    machine = Machine(slow=3.0)
    machine.seconds = 8.0
    found = machine.compared(budget=100.0)
    assert found.rows[0].verdict.word is Word.UNDECIDED
    assert "read as slower" in found.rows[0].verdict.reason


def test_a_benchmark_that_one_version_lacks_fails_and_is_named() -> None:
    machine = Machine(same=1.0, gone=1.0, new=1.0)
    machine.base.remove("new")
    machine.head.remove("gone")
    found = machine.compared()
    assert {one.name: one.told.split(":")[0] for one in found.missing} == {
        "gone": "gone", "new": "new",
    }  # fmt: skip
    assert found.code(Rules(), strict=False) == 1
    assert found.code(Rules(allow_missing=True), strict=False) == 0
    assert {"gone: gone: only base has it", "new: new: only head has it"} <= {
        *lines(found, Rules(), {})
    }


def test_a_benchmark_broken_in_head_fails_even_where_missing_ones_are_allowed() -> None:
    machine = Machine(same=1.0, broken=1.0, both=1.0, before=1.0)
    machine.broken = {
        "base": {"before": "x", "both": "x"}, "head": {"broken": "call fails", "both": "y"},
    }  # fmt: skip
    found = machine.compared(allow_missing=True)
    assert [row.name for row in found.rows] == ["same"]
    assert found.code(Rules(allow_missing=True), strict=False) == 1
    del machine.broken["head"]["broken"]
    found = machine.compared(allow_missing=True)
    assert found.code(Rules(allow_missing=True), strict=False) == 0
    assert found.code(Rules(), strict=False) == 1


def test_a_benchmark_skipped_in_one_version_is_missing_and_in_both_is_not() -> None:
    machine = Machine(same=1.0, skipped=1.0, half=1.0)
    machine.skipped = {
        "base": {"skipped": "slow"}, "head": {"skipped": "slow", "half": "no network"},
    }  # fmt: skip
    found = machine.compared()
    assert [(one.name, one.told) for one in found.missing] == [
        ("half", "skipped in head only: no network")
    ]


@pytest.mark.parametrize("allow_missing", [False, True])
def test_nothing_in_common_is_no_pass(allow_missing: bool) -> None:
    machine = Machine(old=1.0, new=1.0)
    machine.base, machine.head = ["old"], ["new"]
    if allow_missing:
        with pytest.raises(Untrusted, match="nothing was compared"):
            machine.compared(allow_missing=True)
    else:
        assert machine.compared().code(Rules(), strict=False) == 1


def test_no_benchmark_at_all_is_no_pass() -> None:
    with pytest.raises(Empty, match="nothing was compared"):
        Machine().compared()


def test_exact_counts_are_compared_exactly() -> None:
    machine = Machine(same=1.0)
    machine.counts = {
        "base": {"rows_count": 100, "reads": 7, "rounds": 3},
        "head": {"rows_count": 101, "reads": 8, "rounds": 4},
    }
    found = machine.compared()
    assert [(c.name, c.base, c.head) for c in found.rows[0].different_counts] == [
        ("rows_count", 100, 101)
    ]
    assert found.code(Rules(), strict=False) == 1
    assert found.code(Rules(allow_counts=True), strict=False) == 0
    named = machine.compared(counts=("reads",))
    assert {c.name for c in named.rows[0].different_counts} == {"reads", "rows_count"}
    assert "same: rows_count was 100 and is 101" in [*lines(found, Rules(), {})]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "row",
            "no benchmark's extra_info has a whole number of that name; there are: drawn, reads",
        ),
        ("late", "only head has it"),
        ("drawn", "is in no benchmark a whole number that stays the same in each version"),
    ],
)
def test_a_count_that_was_asked_for_and_not_compared_is_bad_input(name: str, told: str) -> None:
    machine = Machine(same=1.0)
    side = machine.side

    def varying(version: str, chosen: list[str]) -> Event:
        numbers = {
            "reads": 7,
            "drawn": len(machine.turns),
            **({"late": 1} if version == "head" else {}),
        }
        machine.counts[version] = numbers
        return side(version, chosen)

    machine.side = varying  # type: ignore[assignment,method-assign]  # other names
    found = machine.compared(counts=(name, "reads"))
    (fault,) = found.faults
    assert fault.startswith(f"--count {name}: {told}")
    assert found.code(Rules(), strict=False) == 2
    assert fault in as_json(found, {}, {}, code=2)["notes"]


def test_a_change_of_speed_between_the_halves_is_said() -> None:
    machine = Machine(same=1.0)
    machine.speeds = [1.0] * 4 + [1.5] * 100
    (note,) = machine.compared().notes
    assert "slower in the second half" in note


def test_files_that_change_meanwhile_make_it_untrusted() -> None:
    class Edited(Machine):
        def repeat(self, task: Task, turn: Turn) -> Iterator[Event]:
            yield from super().repeat(task, turn)
            stamp = [len(self.turns) > 3, 10]
            yield {"event": "files", "name": "head", "files": {"/p/core.py": stamp}}

    with pytest.raises(Untrusted, match=r"/p/core\.py was changed"):
        Edited(same=1.0).compared()


def test_versions_without_code_of_their_own_are_said_to_be() -> None:
    class Bare(Machine):
        files: tuple[str, ...] = ("/p/benchmarks/test_a.py",)

        def repeat(self, task: Task, turn: Turn) -> Iterator[Event]:
            yield from super().repeat(task, turn)
            yield {"event": "files", "name": "head", "files": {name: [1, 1] for name in self.files}}

    world = {"name": "head", "suite": ["/p/benchmarks/test_a.py::test_x"]}
    task = replace(TASK, worlds=({}, world))

    def notes(machine: Bare) -> tuple[str, ...]:
        return compare(
            task, Rules(), say=lambda *_: None, clock=machine.clock, repeat=machine.repeat
        ).notes

    (note,) = notes(Bare(same=1.0))
    assert "--path" in note
    machine = Bare(same=1.0)
    machine.files = ("/p/benchmarks/test_a.py", "/p/core.py")
    assert notes(machine) == ()


def test_a_process_that_crashes_makes_it_untrusted() -> None:
    class Crashing(Machine):
        def repeat(self, task: Task, turn: Turn) -> Iterator[Event]:
            if self.turns:
                raise Crashed("a measuring process ended with signal 11")
            yield from super().repeat(task, turn)

    with pytest.raises(Untrusted, match="signal 11"):
        Crashing(same=1.0).compared()


def test_an_interrupt_keeps_what_was_decided() -> None:
    class Interrupted(Machine):
        def repeat(self, task: Task, turn: Turn) -> Iterator[Event]:
            if len(self.turns) >= FEWEST:
                raise KeyboardInterrupt
            yield from super().repeat(task, turn)

    found = Interrupted(same=1.0, slow=2.0).compared()
    assert found.code(Rules(), strict=False) == 130
    words = {row.name: row.verdict.word for row in found.rows}
    assert words == {"same": Word.SAME, "slow": Word.UNDECIDED}


def test_json_holds_no_value_that_json_lacks() -> None:
    machine = Machine(slow=3.0)
    machine.seconds = 10.0
    found = machine.compared(budget=5.0)
    (told,) = as_json(found, {"base": "a"}, {}, code=0)["benchmarks"]
    assert (told["ratio"], told["interval"], told["base_seconds"]) == (None, None, None)


def test_instructions_stand_beside_times_and_change_no_verdict() -> None:
    found = Machine(same=1.0, other=1.0).compared()
    counts = {"same": (1000.0, 1300.0), "other": (0.0, 5.0)}
    table = [*lines(found, Rules(), counts)]
    assert table[0].split()[-2:] == ["instructions", "verdict"]
    assert table[1].split()[-2:] == ["1.3000", "SAME"]
    assert table[2].split()[-1] == "SAME"
    assert "instructions" not in next(iter(lines(found, Rules(), {})))
    assert as_json(found, {}, counts, code=0)["benchmarks"][0]["instructions"] == (1000.0, 1300.0)
