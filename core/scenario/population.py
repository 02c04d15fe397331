"""The users, touches and conversions that a database starts with, and the events of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from core.attribution.models import MODELS
from core.clock import DATA_EPOCH_MS
from core.context import Purpose
from core.event import Event
from core.query.limits import MAX_VALUE_BYTES
from core.scenario.scenario import Scenario
from core.scenario.workload import MODEL_COUNT, Workload
from core.streams import Stream

CHANNELS = ("google", "facebook", "email", "(direct)", "bing", "affiliate", "instagram", "linkedin")
SEGMENTS = ("new", "returning", "loyal", "lapsed")
MAX_PROFILE_BYTES = MAX_VALUE_BYTES - 1_000
"""What D1 leaves of a row beside the user's id and segment."""

_HOUR_MS = 3_600_000
_EVENT_WIDTH = 4
_BLOCK_ROWS = 1024
_event = tuple.__new__


def channel_name(position: int) -> str:
    """Return the name of the channel at *position*."""
    return CHANNELS[position] if position < len(CHANNELS) else f"channel-{position + 1}"


def site_id(number: int) -> str:
    """Return the id of site *number*."""
    return f"s{number}"


def user_id(subject: int) -> str:
    """Return the id of the user with number *subject*."""
    return f"u{subject}"


def conversion_id(subject: int) -> str:
    """Return the id of the seeded conversion with number *subject*."""
    return f"c{subject}"


def model_of(subject: int) -> int:
    """Return which of the attribution models a request about *subject* asks for."""
    return subject % MODEL_COUNT


def model_name(subject: int) -> str:
    """Return the name of the model that a request about *subject* asks for."""
    return MODELS[subject % MODEL_COUNT]


ARGUMENTS: Mapping[str, Callable[[int], str]] = {
    "user_id": user_id,
    "conversion_id": conversion_id,
    "model": model_name,
}
"""What each placeholder of an endpoint's path stands for, by the number of the subject."""


def argument_of(placeholder: str) -> Callable[[int], str]:
    """Return what makes the argument of *placeholder* from the number of a subject."""
    return ARGUMENTS.get(placeholder, str)


SiteRow = tuple[str, int, int]
UserRow = tuple[str, str, str]
TouchRow = tuple[str, str, str, str, int]
ConversionRow = tuple[str, str, str, int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Rows of the database at the start of a run, a function of (scenario, seed).

    sites: (site_id, enabled, max_event_bytes); users: (user_id, segment, profile); touches:
    (event_id, user_id, event_name, utm_source, event_timestamp in epoch ms); conversions:
    (conversion_id, event_id, user_id, conversion_timestamp, value).
    """

    sites: list[SiteRow]
    users: list[UserRow]
    touches: list[TouchRow]
    conversions: list[ConversionRow]


def populate(scenario: Scenario, workload: Workload, *, replication: int = 0) -> Population:
    """Return the rows that every subject of *workload* finds in the database.

    Each *replication* has data of its own.

    A conversion belongs to user number (conversion mod users); a user's j-th conversion lies
    36 (j + 1) to 36 (j + 1) - 12 hours before the start, its touches in the 24 hours before it.
    A user without a conversion has touches at the times that a first conversion would give.
    """
    users, conversions = workload.users, workload.conversions
    owners = max(users, conversions)  # one journey per conversion, and one for each other user
    seed, at = scenario.seed, 2 * replication
    drawn_of = Stream(seed, Purpose.DATA, replication=at)
    journeys = drawn_of.rows(0, owners * 2)[:, 0].reshape(owners, 2)
    # A uniform number of touches between 1 and 2 x mean - 1.
    counts = 1 + np.floor(journeys[:, 0] * (2 * scenario.traffic.touches_per_user - 1)).astype(int)
    rounds = np.arange(owners) // users
    ends = DATA_EPOCH_MS - (rounds + 1) * 36 * _HOUR_MS
    ends = ends + np.floor(journeys[:, 1] * 12 * _HOUR_MS).astype(np.int64)
    total = int(counts.sum())
    drawn = Stream(seed, Purpose.DATA, width=2, replication=at).rows(owners * 2, total)
    owner = np.repeat(np.arange(owners), counts)
    times = np.repeat(ends, counts) - 1 - np.floor(drawn[:, 0] * 24 * _HOUR_MS).astype(np.int64)
    channels = np.floor(drawn[:, 1] * scenario.traffic.channels).astype(int)
    names = [channel_name(i) for i in range(scenario.traffic.channels)]
    touches = [
        (f"t{i}", f"u{o % users}", "page_view", names[channel], time)
        for i, (o, channel, time) in enumerate(
            zip(owner.tolist(), channels.tolist(), times.tolist(), strict=True)
        )
    ]
    values = Stream(seed, Purpose.DATA, replication=at + 1).rows(0, conversions)[:, 0]
    cents = np.floor(values * 19_000 + 1_000).astype(int).tolist()
    return Population(
        sites=sites_of(scenario),
        users=list(_users(workload)),
        touches=touches,
        conversions=[
            (f"c{i}", f"t-c{i}", f"u{i % users}", end, cent / 100)
            for i, (end, cent) in enumerate(zip(ends[:conversions].tolist(), cents, strict=True))
        ],
    )


def sites_of(scenario: Scenario) -> list[SiteRow]:
    """Return the sites of a scenario, which take events of up to 8 kB."""
    return [(site_id(i), 1, 8_192) for i in range(scenario.traffic.sites)]


def _users(workload: Workload) -> Iterator[UserRow]:
    sizes = None if workload.profile_bytes is None else workload.profile_bytes.tolist()
    for subject in range(workload.users):
        profile = "x" * sizes[subject] if sizes is not None and subject < len(sizes) else ""
        yield (user_id(subject), SEGMENTS[subject % len(SEGMENTS)], profile)


class Events:
    """The events that tracking requests carry, addressed by the request's index."""

    __slots__ = ("_block", "_channels", "_run_id", "_share", "_sites", "_stream")

    def __init__(self, scenario: Scenario, *, run_id: str, replication: int = 0) -> None:
        self._stream = Stream(
            scenario.seed, Purpose.EVENTS, width=_EVENT_WIDTH, replication=replication
        )
        self._run_id = run_id
        # Two: requests in flight lie on both sides of a border, and ask in turn.
        self._block = lru_cache(maxsize=2)(self._drawn)
        self._share = scenario.traffic.conversion_share
        self._sites = tuple(site_id(i) for i in range(scenario.traffic.sites))
        self._channels = tuple(channel_name(i) for i in range(scenario.traffic.channels))

    def event(self, index: int, subject: int, intended_ns: int) -> Event:
        """Return the event of request *index* about user *subject*.

        Ids carry the run's id, so that a second run is not swallowed as duplicates.
        """
        channels, values = self._block(index // _BLOCK_ROWS)
        place = index % _BLOCK_ROWS
        run, sites, value = self._run_id, self._sites, values[place]
        # Past the named tuple's own constructor, which takes twice as long.
        return _event(
            Event,
            (
                f"{run}-{index}",
                f"u{subject}",
                sites[subject % len(sites)],
                "page_view" if value is None else "purchase",
                DATA_EPOCH_MS + intended_ns // 1_000_000,
                channels[place],
                None if value is None else f"{run}-c{index}",
                value,
                None,
            ),
        )

    def _drawn(self, block: int) -> tuple[list[str], list[float | None]]:
        """Return the channel of each request of *block*, and its value where it converts."""
        drawn = self._stream.rows(block * _BLOCK_ROWS, _BLOCK_ROWS)
        channels = (drawn[:, 1] * len(self._channels)).astype(np.int64).tolist()
        cents = (1_000 + drawn[:, 2] * 19_000).astype(np.int64)
        converts = (drawn[:, 0] < self._share).tolist()
        values = [
            value if is_conversion else None
            for is_conversion, value in zip(converts, (cents / 100).tolist(), strict=True)
        ]
        return [self._channels[channel] for channel in channels], values
