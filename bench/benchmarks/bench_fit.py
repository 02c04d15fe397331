"""A fit of data_driven on as many events as a fit sees by default, copied page by page."""

from __future__ import annotations

from contextlib import closing

from pytest_benchmark.fixture import BenchmarkFixture

from core.attribution.fitted import FittedModel
from core.attribution.parameters import Parameters
from core.clock import DATA_EPOCH_MS
from core.ledger.sample import PAGE, Sample
from core.query.database import Row
from core.scenario.attribution import Attribution
from core.scenario.population import CHANNELS

EVENTS = Attribution().fit_events
JOURNEY = 6
"""Events of a user: five touches and, of every second user, a conversion."""


def test_fit_on_50_000_events(benchmark: BenchmarkFixture) -> None:
    events = [event(number) for number in range(EVENTS)]

    def fit() -> FittedModel:
        with closing(Sample()) as sample:
            for start in range(0, EVENTS, PAGE):
                sample.add(events[start : start + PAGE])
            return sample.fit(Parameters(), 10)

    model = benchmark.pedantic(fit, rounds=5, warmup_rounds=1)  # type: ignore[no-untyped-call]  # it has no annotations
    assert model.conversions == EVENTS // (2 * JOURNEY)
    assert set(model.weights) == set(CHANNELS)


def event(number: int) -> Row:
    """Return one event in the form of `Queries.events`."""
    user, place = divmod(number, JOURNEY)
    time, channel = DATA_EPOCH_MS + number, CHANNELS[(user * 7 + place * place) % len(CHANNELS)]
    if place == JOURNEY - 1 and user % 2:
        return (number + 1, f"u{user}", time, "(direct)", f"c{user}", time, 20.0)
    return (number + 1, f"u{user}", time, channel, None, None, None)
