"""Claims about the profiler: what is nested lands on its request, and nothing grows for ever."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import ManualClock
from core.metrics.profile import Threshold
from core.metrics.profiler import MAX_NAMES, OTHER, LatencyProfiler
from core.metrics.span import MAX_DEPTH, MAX_STAGES, ProfiledSpan, SpanStage

KINDS = ("request", "query", "cache", "external")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def profiler(clock: ManualClock) -> LatencyProfiler:
    return LatencyProfiler(clock)


def test_nested_stages_land_on_their_request_as_they_end(
    clock: ManualClock, profiler: LatencyProfiler
) -> None:
    with profiler.span("request", "checkout") as request:
        clock.advance(1.0)
        with profiler.span("external", "payment"):
            clock.advance(0.25)
            with profiler.span("query", "load_user") as query:
                clock.advance(0.5)
            profiler.record("query", "plan", 0.25)
        profiler.record("cache", "L2", 0.125)
    assert request.stages == (
        SpanStage("query", "load_user", 1.25, 0.5, 2, False),
        SpanStage("query", "plan", 1.5, 0.25, 2, False),
        SpanStage("external", "payment", 1.0, 0.75, 1, False),
        SpanStage("cache", "L2", 1.625, 0.125, 1, False),
    )
    assert (request.seconds, request.request, query.request) == (1.75, request, request)
    assert query.parent is not None
    assert query.parent.parent is request
    assert profiler.summary("query")["max"] == pytest.approx(500.0)


def test_notes_of_the_request_are_woven_in_where_they_were_made(
    clock: ManualClock, profiler: LatencyProfiler
) -> None:
    notes: list[tuple[str, float]] = []
    with profiler.span("request", "journey") as request:
        request.notes = notes
        notes.append(("l1", 0.001))
        with profiler.span("query", "site"):
            notes.append(("l3", 0.003))
        with profiler.span("query", "user"):
            pass
        notes.append(("l1", 0.002))
    names = [stage.name for stage in request.stages]
    assert names == ["l1", "l3", "site", "user", "l1"]


def test_request_within_a_request_is_a_stage_of_it_and_keeps_its_own(
    clock: ManualClock, profiler: LatencyProfiler
) -> None:
    with (
        profiler.span("request", "page") as page,
        profiler.span("external", "basket"),
        profiler.span("request", "part") as part,
        profiler.span("query", "load"),
    ):
        clock.advance(0.5)
    assert [(stage.name, stage.depth) for stage in part.stages] == [("load", 1)]
    assert [(stage.name, stage.depth) for stage in page.stages] == [("part", 2), ("basket", 1)]


@dataclass(frozen=True)
class Work:
    """What a task does: yield, work on its clock, do its parts one by one or at once, fail."""

    name: str
    kind: str
    before: int
    after: int
    parts: tuple[Work, ...]
    at_once: bool
    fails: bool


@dataclass
class Seen:
    """What the spans said of themselves, by name."""

    spans: dict[str, ProfiledSpan] = field(default_factory=dict)
    began: dict[str, float] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)


class Failed(Exception):
    """What work raises that is to fail."""


def works(depth: int = 3) -> st.SearchStrategy[Work]:
    """Return trees of work; names are given afterwards, so that each is unique."""
    parts: st.SearchStrategy[tuple[Work, ...]] = (
        st.just(()) if depth == 0 else st.lists(works(depth - 1), max_size=3).map(tuple)
    )
    return st.builds(
        Work, name=st.just(""), kind=st.sampled_from(KINDS), before=st.integers(0, 3),
        after=st.integers(0, 3), parts=parts, at_once=st.booleans(), fails=st.booleans(),
    )  # fmt: skip


def named(work: Work, numbers: Iterator[int]) -> Work:
    name = f"w{next(numbers)}"
    parts = tuple(named(part, numbers) for part in work.parts)
    return Work(name, work.kind, work.before, work.after, parts, work.at_once, work.fails)


def walked(work: Work, parent: Work | None = None) -> Iterator[tuple[Work, Work | None]]:
    yield work, parent
    for part in work.parts:
        yield from walked(part, work)


def landing_on(request: Work) -> list[str]:
    """Return whose stages are the request's: all below it, down to where another request is."""
    names = []
    for part in request.parts:
        names.append(part.name)
        if part.kind != "request":
            names += landing_on(part)
    return names


async def perform(work: Work, profiler: LatencyProfiler, clock: ManualClock, seen: Seen) -> None:
    span = profiler.span(work.kind, work.name)
    seen.spans[work.name] = span
    try:
        with span:
            seen.began[work.name] = clock.now()
            try:
                for _ in range(work.before):
                    clock.advance(0.001)
                    await asyncio.sleep(0)
                parts: list[Coroutine[Any, Any, None]] = [
                    perform(part, profiler, clock, seen) for part in work.parts
                ]
                if work.at_once:
                    await asyncio.gather(*parts)
                else:
                    for part in parts:
                        await part
                for _ in range(work.after):
                    await asyncio.sleep(0)
                    clock.advance(0.003)
                if work.fails:
                    raise Failed
            finally:
                seen.took[work.name] = clock.now() - seen.began[work.name]
    except Failed:
        assert work.fails


@given(st.lists(works(), min_size=1, max_size=4))
def test_concurrent_requests_never_mix(forest: list[Work]) -> None:
    numbers = count()
    roots = [named(work, numbers) for work in forest]
    clock, seen = ManualClock(), Seen()
    profiler = LatencyProfiler(clock, slow_kept=0)

    async def all_at_once() -> None:
        await asyncio.gather(*(perform(root, profiler, clock, seen) for root in roots))

    asyncio.run(all_at_once())
    for root in roots:
        for work, parent in walked(root):
            span = seen.spans[work.name]
            assert span.parent is (None if parent is None else seen.spans[parent.name])
            assert span.seconds == pytest.approx(seen.took[work.name])
            assert span.is_failed is work.fails
            if work.kind != "request":
                assert span.stages == ()
                continue
            assert span.request is span
            assert sorted(stage.name for stage in span.stages) == sorted(landing_on(work))
            for stage in span.stages:
                assert seen.spans[stage.name].is_failed is stage.is_failed
                assert stage.seconds == pytest.approx(seen.took[stage.name])
                began = seen.began[stage.name] - seen.began[work.name]
                assert stage.began == pytest.approx(began)
    for kind in KINDS:
        of_kind = [work for root in roots for work, _ in walked(root) if work.kind == kind]
        summary = profiler.summary(kind)
        assert summary["total"] == len(of_kind)
        assert summary["failed"] == sum(work.fails for work in of_kind)
        assert set(profiler.summary_by_name(kind)) == {work.name for work in of_kind}


Step = tuple[str, int]


@given(
    st.lists(st.tuples(st.sampled_from(("request", "query", "close")), st.integers(0, 9))),
    st.booleans(),
)
def test_spans_closed_in_any_order_leave_nothing_behind(steps: list[Step], ends: bool) -> None:
    clock = ManualClock()
    profiler = LatencyProfiler(clock)
    opened: list[ProfiledSpan] = []

    def play() -> None:
        for what, position in steps:
            clock.advance(1.0)
            if what != "close":
                opened.append(profiler.span(what, "x").__enter__())
                assert opened[-1].parent is None or opened[-1].parent.seconds is None
            elif opened:
                opened[position % len(opened)].__exit__(None, None, None)
        for span in opened if ends else reversed(opened):
            span.__exit__(None, None, None)
        with profiler.span("query", "x") as after:
            assert (after.parent, after.request, after.depth) == (None, None, 0)

    contextvars.copy_context().run(play)
    assert all(span.seconds is not None for span in opened)
    total = sum(profiler.summary(kind)["total"] for kind in ("request", "query"))
    assert total == len(opened) + 1


@pytest.mark.parametrize("kind", ["request", "query"])
def test_spans_that_are_never_closed_are_forgotten(profiler: LatencyProfiler, kind: str) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    class Marked(ProfiledSpan):
        __slots__ = ("__weakref__",)

    profile = profiler.profile(kind, "x")

    def play() -> None:
        for _ in range(20 * MAX_DEPTH):
            span = Marked(profile)
            alive.add(span)
            span.__enter__()
            assert span.depth <= MAX_DEPTH
            del span
            assert len(alive) <= 2 * MAX_DEPTH

    contextvars.copy_context().run(play)
    gc.collect()
    assert len(alive) == 0


def test_what_follows_a_nested_span_hangs_on_what_is_open(profiler: LatencyProfiler) -> None:
    with profiler.span("request", "x") as request:
        with profiler.span("query", "outer") as outer:
            with profiler.span("query", "inner"):
                pass
            profiler.record("query", "within outer", 0.0)
            with profiler.span("query", "second") as second:
                assert (second.parent, second.depth) == (outer, 2)
        profiler.record("query", "within request", 0.0)
        assert profiler.span("query", "third").__enter__().parent is request
    assert [(stage.name, stage.depth) for stage in request.stages] == [
        ("inner", 2), ("within outer", 2), ("second", 2), ("outer", 1), ("within request", 1),
    ]  # fmt: skip
    with profiler.span("query", "after") as after:
        assert (after.parent, after.request) == (None, None)


def test_spans_need_no_garbage_collector(profiler: LatencyProfiler) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            with profiler.span("request", "x"), profiler.span("query", "y"):
                pass
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_ending_a_request_ends_what_was_left_open_in_it(profiler: LatencyProfiler) -> None:
    with profiler.span("request", "first") as first:
        left = profiler.span("query", "left").__enter__()
    with profiler.span("request", "second") as second:
        with profiler.span("query", "of_second") as query:
            pass
        left.__exit__(None, None, None)
    assert (second.parent, query.parent) == (None, second)
    assert [stage.name for stage in first.stages] == []
    assert [stage.name for stage in second.stages] == ["of_second"]


def test_work_that_outlives_its_request_does_not_land_on_it(profiler: LatencyProfiler) -> None:
    async def outlive(begun: asyncio.Event, go: asyncio.Event) -> ProfiledSpan:
        with profiler.span("query", "inside"):
            begun.set()
            await go.wait()
        profiler.record("cache", "L2", 0.001)
        with profiler.span("query", "after") as after:
            pass
        return after

    async def main() -> None:
        begun, go = asyncio.Event(), asyncio.Event()
        with profiler.span("request", "r") as request:
            task = asyncio.create_task(outlive(begun, go))
            await begun.wait()
        go.set()
        after = await task
        assert request.stages == ()
        assert (after.parent, after.request) == (None, None)
        assert profiler.summary("query")["total"] == 2

    asyncio.run(main())


def test_span_closed_in_another_context_is_counted_once_and_disturbs_nothing(
    profiler: LatencyProfiler,
) -> None:
    async def rows() -> AsyncIterator[int]:
        with profiler.span("query", "stream"):
            yield 1
            yield 2

    async def main() -> None:
        stream = rows()
        await asyncio.create_task(anext(stream))  # type: ignore[arg-type]  # a coroutine here
        with profiler.span("request", "r") as request:
            await stream.aclose()  # type: ignore[attr-defined]  # an async generator
            with profiler.span("query", "own") as own:
                pass
        assert own.parent is request
        assert [stage.name for stage in request.stages] == ["own"]

    asyncio.run(main())
    assert profiler.summary_by_name("query")["stream"]["failed"] == 1


def test_failure_is_counted_and_passes(clock: ManualClock, profiler: LatencyProfiler) -> None:
    request = profiler.span("request", "r")

    def fail(span: ProfiledSpan, seconds: float) -> None:
        with span:
            clock.advance(seconds)
            raise Failed

    def checkout() -> None:
        with request:
            with pytest.raises(Failed):
                fail(profiler.span("external", "api"), 0.5)
            profiler.fail("query", "q", 0.25)
            raise Failed

    with pytest.raises(Failed):
        checkout()
    assert [(s.name, s.seconds, s.is_failed) for s in request.stages] == [
        ("api", 0.5, True), ("q", 0.25, True),
    ]  # fmt: skip
    for kind in ("request", "external", "query"):
        assert (profiler.summary(kind)["failed"], profiler.summary(kind)["p50"]) == (1, None)


def test_span_that_is_said_to_fail_is_a_failure_without_an_exception(
    clock: ManualClock, profiler: LatencyProfiler
) -> None:
    with profiler.span("request", "r") as request, profiler.span("query", "q") as query:
        query.fail()
        clock.advance(0.001)
    assert not request.is_failed
    assert [(s.name, s.is_failed) for s in request.stages] == [("q", True)]
    summaries = [profiler.summary(kind) for kind in ("request", "query")]
    assert [(s["total"], s["failed"], s["errors"]) for s in summaries] == [(1, 0, 0), (1, 1, 1)]


def test_cancellation_is_a_failure(profiler: LatencyProfiler) -> None:
    async def main() -> None:
        async def wait_for_ever() -> None:
            with profiler.span("external", "api"):
                await asyncio.get_running_loop().create_future()

        task = asyncio.create_task(wait_for_ever())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert profiler.summary("external")["failed"] == 1


def test_request_keeps_so_many_stages_and_counts_the_rest(
    clock: ManualClock, profiler: LatencyProfiler
) -> None:
    with profiler.span("request", "r") as request:
        request.notes = [("l1", 0.0)] * 2
        for number in range(MAX_STAGES + 5):
            with profiler.span("query", f"q{number % 3}"):
                clock.advance(0.001)
    (slow,) = profiler.slow_requests()
    assert len(slow.stages) == len(request.stages) == MAX_STAGES
    assert slow.left_out == 7
    assert profiler.summary("query")["total"] == MAX_STAGES + 5


@given(st.lists(st.tuples(st.floats(0.0, 0.3), st.booleans()), max_size=12), st.integers(0, 4))
def test_the_last_requests_that_were_slow_or_failed_are_kept(
    requests: list[tuple[float, bool]], kept: int
) -> None:
    clock = ManualClock()
    profiler = LatencyProfiler(clock, thresholds={"request": Threshold(0.1, 0.2)}, slow_kept=kept)
    expected = []
    for number, (seconds, fails) in enumerate(requests):
        began = clock.now()
        try:
            with profiler.span("request", f"r{number}"):
                clock.advance(seconds)
                if fails:
                    raise Failed
        except Failed:
            pass
        if fails or clock.now() - began > 0.1:
            expected.append((f"r{number}", clock.now(), fails))
    found = [(slow.name, slow.ended, slow.is_failed) for slow in profiler.slow_requests()]
    assert [(name, fails) for name, _, fails in found] == [
        (name, fails) for name, _, fails in expected[len(expected) - min(kept, len(expected)) :]
    ]
    assert [ended for _, ended, _ in found] == pytest.approx(
        [ended for _, ended, _ in expected[len(expected) - len(found) :]]
    )


def test_names_are_bounded(profiler: LatencyProfiler) -> None:
    for number in range(MAX_NAMES + 50):
        with profiler.span("query", f"user-{number}"):
            pass
    profiler.record("cache", "late", 0.001)
    names = profiler.names("query")
    assert len(names) == MAX_NAMES + 1
    assert profiler.summary_by_name("query")[OTHER]["total"] == 50
    assert profiler.names("cache") == [OTHER]
    assert profiler.summary("query")["total"] == MAX_NAMES + 50


def test_kind_without_thresholds_is_an_error(profiler: LatencyProfiler) -> None:
    message = (
        "'stage' is no kind of this profiler; use one of request, query, cache, external, queue"
    )
    for use in (profiler.span, profiler.profile):
        with pytest.raises(ValueError, match=f"^{message}$"):
            use("stage", "x")


def test_profiler_without_a_clock_times_no_spans() -> None:
    profiler = LatencyProfiler()
    profiler.record("query", "x", 0.001)
    with pytest.raises(ValueError, match="clock"):
        profiler.span("query", "x")


def test_span_is_used_once(profiler: LatencyProfiler) -> None:
    span = profiler.span("query", "x")
    with span, pytest.raises(RuntimeError, match="once"):
        span.__enter__()
    with pytest.raises(RuntimeError, match="once"):
        span.__enter__()
    span.__exit__(None, None, None)
    assert profiler.summary("query")["total"] == 1
