"""What a seeded database says about sizes and journeys, so that a run needs no database."""

from __future__ import annotations

import sys
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sim.compiled.slots as s
from core.application.cache_entries import CODECS, Site, User
from core.application.documents import _event_text, channels_document
from core.attribution.journeys import Journey
from core.attribution.models import MODELS, weights_of
from core.caching.envelope import HEADER_BYTES
from core.caching.keys import cache_key
from core.caching.memory import ENTRY_OVERHEAD
from core.clock import DATA_EPOCH_MS, ManualClock
from core.delivery.document import delivery_document
from core.endpoint import Read
from core.ledger.processor import attribution_commands
from core.metrics.profiler import LatencyProfiler
from core.query import statements
from core.query.cache import ENTRY_OVERHEAD as ROWS_OVERHEAD
from core.query.cache import QueryCache
from core.query.queries import Queries
from core.scenario.population import SEGMENTS, argument_of, channel_name, site_id
from core.scenario.scenario import Scenario
from core.scenario.workload import Workload
from sim.compiled import credits
from sim.compiled.journeys import drawn_events
from sim.compiled.start import Rows, Start, digits, is_usual
from sim.model import SeededDatabase

Array = NDArray[Any]
_PAGE = ("sim-", "page_view", "", DATA_EPOCH_MS, None, None, None, None, None)
TAGGED = {
    "security_config": "site", "lookup_data": "user", "user_journeys": "user",
    "attribution": "conversion", "channel_metrics": "model",
}  # fmt: skip
"""What the tag of an entry names, by its cache type."""


def at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("a database in memory waits for nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeededEvents:
    """The events of before the run, by place, and the last one of each user.

    times: milliseconds from the start of the run, negative. lengths: of their texts in a journey.
    before: the place of the same user's event before, -1 for none.
    """

    times: Array
    kinds: Array
    channels: Array
    lengths: Array
    last: Array
    before: Array


def _joined(columns: Sequence[Array]) -> Array:
    """Return *columns* one behind the other; there are none where no endpoint reads a cache."""
    return np.concatenate([*columns, np.empty(0, dtype=np.int64)]).astype(np.int64)


class Facts:
    """The sizes of a scenario's entries and the events of its users, from a seeded database.

    scheme: in force at the start. start: what the rows alone say of credit, None where only the
    shipped code knows.
    """

    def __init__(self, scenario: Scenario, workload: Workload, seeded: SeededDatabase) -> None:
        self.seeded, self._scenario = seeded, scenario
        count, attribution = scenario.traffic.channels, scenario.attribution
        self.channel_names = [channel_name(place) for place in range(count)]
        self.channel_lengths = np.array([len(name) for name in self.channel_names])
        rows = Rows.of(seeded.population(), count)
        self.start: Start | None = None
        parameters = attribution.parameters()
        fits_all = not attribution.fit_every or len(rows.order) <= attribution.fit_events
        is_known = is_usual(parameters, count) and not parameters.own_event and fits_all
        if is_known and not scenario.tiers.query_cache.ttl:  # whose rows only the database has
            self.start = Start(scenario, rows)
        self.scheme = seeded.scheme if self.start is None else self.start.scheme
        self.events = self._events(rows, workload)
        self._credits: dict[int, tuple[int, int]] = {}

    def _events(self, rows: Rows, workload: Workload) -> SeededEvents:
        touches = len(rows.times)
        is_conversion = rows.order >= touches
        users = np.concatenate((rows.users, rows.owners))[rows.order]
        times = np.concatenate((rows.times, rows.converted))[rows.order] - DATA_EPOCH_MS
        direct = self.channel_names.index("(direct)") if "(direct)" in self.channel_names else 0
        bought = np.full_like(rows.owners, direct)
        channels = np.concatenate((rows.channels, bought))[rows.order]
        lengths = self._event_lengths(rows)[rows.order]
        order = np.lexsort((np.arange(len(users)), times, users))
        before = np.full(len(users), -1, dtype=np.int32)
        same = users[order][1:] == users[order][:-1]
        before[order[1:][same]] = order[:-1][same]
        # The database may have more users than a run that was ended early asks for.
        count = max(workload.users, 1 + int(users.max(initial=0)))
        last = np.full(count, -1, dtype=np.int32)
        last[users[order]] = order  # the latest stays
        return SeededEvents(
            times=times,
            kinds=is_conversion.astype(np.uint8),
            channels=channels.astype(np.uint8),
            lengths=lengths,
            last=last,
            before=before,
        )

    def _event_lengths(self, rows: Rows) -> Array:
        """Return the bytes of each event's text in a journey: touches, then conversions."""
        none = [None] * 4
        touched = len(_event_text(("t", "page_view", "", DATA_EPOCH_MS, None, *none)))
        bought = len(_event_text(("t-c", "purchase", "(direct)", DATA_EPOCH_MS, "c", *none)))
        of_touches = touched + digits(np.arange(len(rows.times)))
        of_touches += self.channel_lengths[rows.channels]
        return np.concatenate((of_touches, bought + 2 * digits(np.arange(len(rows.owners)))))

    def key_lengths(self, counts: Mapping[str, int]) -> Array:
        """Return the bytes of every key, type after type."""
        scenario, scheme = self._scenario, self.scheme
        arguments = {
            read.cache_type: endpoint.arguments
            for endpoint in scenario.endpoints
            for read in endpoint.reads
        }
        reads = {read.cache_type: read for e in scenario.endpoints for read in e.reads}
        lengths = []
        ends = np.array([len(scheme.key_end(model)) for model in MODELS])
        for name, count in counts.items():
            numbers = np.arange(count)
            if name not in CODECS:
                keys = (_own_key(name, reads[name], arguments[name], n) for n in range(count))
                lengths.append(np.array([len(key) for key in keys], dtype=np.int64))
                continue
            prefix = len(CODECS[name][0]) + 2  # the colon, and the letter of the id
            if name == "channel_metrics":
                lengths.append(len("channels") + ends[:count])
            elif name == "attribution":
                lengths.append(prefix + digits(numbers) + ends[numbers % len(MODELS)])
            else:
                lengths.append(prefix + digits(numbers))
        return _joined(lengths)

    def tag_lengths(self, counts: Mapping[str, int]) -> Array:
        """Return the bytes of every entry's tag, type after type; 0 where there are none."""
        lengths = []
        for name, count in counts.items():
            what = TAGGED.get(name) if self._scenario.tiers.tags else None
            if what is None:  # entries of stated endpoints have none
                lengths.append(np.zeros(count, dtype=np.int64))
            elif what == "model":
                lengths.append(np.array([len(f"model:{model}") for model in MODELS[:count]]))
            else:
                lengths.append(len(f"{what}:x") + digits(np.arange(count)))
        return _joined(lengths)

    def fixed_sizes(self, counts: Mapping[str, int], workload: Workload) -> Array:
        """Return the bytes of every encoded value, -1 where they are not known before a load."""
        sizes = []
        reads = {read.cache_type: read for e in self._scenario.endpoints for read in e.reads}
        for name, count in counts.items():
            if name not in CODECS:
                sizes.append(np.full(count, reads[name].size))
            elif name == "security_config":
                sizes.append(np.full(count, len(CODECS[name][1].encode(Site(True, 8_192)))))
            elif name == "lookup_data":
                codec = CODECS[name][1]
                empty = np.array([len(codec.encode(User(segment, ""))) for segment in SEGMENTS])
                size = empty[np.arange(count) % len(SEGMENTS)]
                if workload.profile_bytes is not None:
                    profiles = workload.profile_bytes[:count]
                    size[: len(profiles)] += profiles
                sizes.append(size)
            else:
                sizes.append(np.full(count, -1))
        return _joined(sizes)

    def rows_sizes(self, counts: Mapping[str, int], workload: Workload) -> Array:
        """Return the bytes that a query cache counts for what stands behind every key.

        Of journeys and channels what is there beside the rows; -1 of credits, which `credits_size`
        tells; 0 where no rows are cached.
        """
        sizes = []
        for name, count in counts.items():
            if name not in CODECS:
                sizes.append(np.zeros(count, dtype=np.int64))
                continue
            kind = CODECS[name][0]
            size = ROWS_OVERHEAD + len(f"{kind}:x") + digits(np.arange(count))
            if name == "security_config":
                size += len(repr([(1, 8_192)]))
            elif name == "lookup_data":
                empty = np.array([len(repr([(segment, "")])) for segment in SEGMENTS])
                size += empty[np.arange(count) % len(SEGMENTS)]
                if workload.profile_bytes is not None:
                    profiles = workload.profile_bytes[:count]
                    size[: len(profiles)] += profiles
            elif name == "channel_metrics":
                size = ROWS_OVERHEAD + np.array([len(f"{kind}:{m}") for m in MODELS[:count]])
            elif name == "attribution":
                size = np.full(count, -1)
            sizes.append(size)
        return _joined(sizes)

    def credits_size(self, conversion: int) -> tuple[int, int]:
        """Return the bytes of the document of a seeded conversion's credits, and of its rows.

        Those of the rows are what a query cache counts for them.
        """
        if self.start is not None and conversion < len(self.start.sizes):
            return int(self.start.sizes[conversion]), 0
        known = self._credits.get(conversion)
        if known is None:
            known = self._credits[conversion] = self._size_of("attribution", conversion)
        return known

    def channels_size(self, model: int) -> tuple[int, int]:
        """Return the bytes of the channels' page that the database starts with, and of its rows."""
        if self.start is not None:
            return self.page_size(model, self.start.totals, self.start.counts)[0], 0
        return self._size_of("channel_metrics", model)

    def _size_of(self, cache_type: str, subject: int) -> tuple[int, int]:
        cache = QueryCache(ttl=1.0, max_entries=1, max_bytes=sys.maxsize)
        work = self.seeded.warmer.load_through(cache, cache_type, subject)
        return len(at_once(work)), cache.bytes

    def page_size(self, model: int, totals: Array, counts: Array) -> tuple[int, int]:
        """Return the bytes of the channels' page of *model* with these totals, and of its rows."""
        shown = np.flatnonzero(counts)
        rows = [
            (self.channel_names[channel], float(credit), int(count), float(value))
            for channel, (credit, value), count in zip(
                shown.tolist(), totals[shown, model], counts[shown], strict=True
            )
        ]
        return len(channels_document(rows, MODELS[model], self.scheme)), len(repr(rows))


def _own_key(name: str, read: Read, placeholders: tuple[str, ...], number: int) -> str:
    if read.key == "site":
        return cache_key(name, site_id(number))
    if read.key == "none":
        return cache_key(name)
    return cache_key(name, *(argument_of(each)(number) for each in placeholders))


def event_texts() -> tuple[int, int]:
    """Return the bytes of a page view and of a purchase, without numbers and channel."""
    none = [None] * 4
    page = _event_text(_PAGE)
    bought = _event_text(("sim-", "purchase", "", DATA_EPOCH_MS, "sim-c", *none))
    return len(page), len(bought)


ROWS_OF_EVENT = 2 + len(repr(_PAGE)) - len(_event_text(_PAGE))
"""What an event of a journey has more as a row than as JSON, and what stands between two rows."""

JOURNEY_HEAD = len(b'{"user_id":"u","events":[]}')
ENTRY_BYTES = HEADER_BYTES + ENTRY_OVERHEAD
TOUCH_BYTES = 130 + 25 * len(MODELS) + sum(len(model) + 4 for model in MODELS)
"""More than a touch of a delivery, or the rest of its document, ever takes."""


class ChannelPages:
    """The channels' pages of a run, and its deliveries: what was stored, shared out.

    Compiled code shares out under the usual parameters, and the shipped code under any others.
    """

    def __init__(self, facts: Facts, scenario: Scenario, workload: Workload, arrays: Any) -> None:
        self._facts, self._workload = facts, workload
        self._scheme = scheme = facts.scheme
        parameters = scheme.parameters
        self._stored = 0
        names = facts.channel_names
        self._shape = np.array([*parameters.u_shape, *parameters.w_shape])
        self._driven = np.array(weights_of(scheme.weights, names))
        self._half_life = np.array([float(parameters.half_life_ms), 2.0])
        self._is_usual = is_usual(parameters, len(names))
        if facts.start is None:
            self._totals = np.zeros((len(names), len(MODELS), 2))
            self._counts = np.zeros(len(names), dtype=np.int64)
            self._read_totals()
        else:
            self._totals, self._counts = facts.start.totals.copy(), facts.start.counts.copy()
        if not self._is_usual:
            self._database = facts.seeded.copy()
            self._queries = Queries(
                self._database, ManualClock(), LatencyProfiler(), parameters=parameters
            )

    def _read_totals(self) -> None:
        number = {name: place for place, name in enumerate(self._facts.channel_names)}
        rows = self._facts.seeded.connection.execute(
            "SELECT attribution_model, utm_source, total_attribution, total_value,"
            " total_conversions FROM channel_performance"
        )
        for model, channel, credit, value, count in rows:
            if channel not in number:
                self._is_usual = False
                continue
            place = number[channel]
            self._totals[place, MODELS.index(model)] = credit, value
            self._counts[place] = count

    def size(self, model: int, arrays: Any) -> tuple[int, int]:
        """Return the bytes of the page of *model* now, and those of its rows as texts."""
        first, self._stored = self._stored, int(arrays.si[s.S_STORED])
        if not self._is_usual:
            for place in range(first, self._stored):
                self._store(int(arrays.touch_from[place, 2]), arrays)
            found = at_once(self._queries.channel_performance(MODELS[model]))
            page = channels_document(found, MODELS[model], self._scheme)
            return len(page), len(repr(found))
        self._share_out(first, arrays)
        return self._facts.page_size(model, self._totals, self._counts)

    def _share_out(self, first: int, arrays: Any) -> None:
        number, models = len(self._counts), len(MODELS)
        most = 1 + int(arrays.touch_count[: int(arrays.si[s.S_COLLECTED]), 1].max(initial=0))
        credits.share_out(
            arrays.ci, arrays.seed, arrays.stream, first, self._stored, arrays.touch_from,
            arrays.touch_count, arrays.converted, arrays.log, arrays.intended_ns,
            arrays.seed_times, arrays.happened, arrays.order, arrays.order_keys,
            self._half_life, self._shape, self._driven, np.zeros(most, np.int64),
            np.zeros(most, np.int64), np.zeros(most), np.zeros((number, models)),
            np.zeros(number, np.int64), np.zeros((number, models, 2)), np.zeros(number, np.int64),
            self._totals, self._counts,
        )  # fmt: skip

    def document_size(self, place: int, arrays: Any) -> int:
        """Return the bytes of the delivery of the conversion at *place* of those collected."""
        (journey,) = self._journeys(place, place + 1, arrays)
        return len(delivery_document(journey, self._scheme.credits(journey)).encode())

    def _store(self, batch: int, arrays: Any) -> None:
        first, end = map(int, arrays.touch_from[batch, :2])
        journeys = sorted(self._journeys(first, end, arrays), key=lambda j: j.conversion_id)
        results = [(journey, self._scheme.credits(journey)) for journey in journeys]
        for command, rows in attribution_commands(results, self._scheme, 0):
            if command is statements.ADD_TO_CHANNEL:
                at_once(self._database.write((command, rows)))

    def _journeys(self, first: int, end: int, arrays: Any) -> Iterator[Journey]:
        """Yield the journeys of the conversions at *first* to *end* of those collected."""
        events, seeded, workload = self._facts.events, len(self._facts.events.times), self._workload
        names = self._facts.channel_names
        starts, counts = arrays.touch_count[first:end].T.tolist()
        nodes = arrays.log[starts[0] : starts[-1] + counts[-1]].astype(np.int64)
        asked = arrays.converted[first:end].astype(np.int64)
        requests = np.concatenate((asked, np.maximum(nodes - seeded, 0)))
        channels, cents = np.empty(len(requests), np.int64), np.empty(len(requests), np.int64)
        drawn_events(arrays.ci, arrays.seed, arrays.stream, requests, channels, cents)
        times = workload.intended_ns[requests] // 1_000_000
        is_seeded = nodes < seeded
        place = nodes[is_seeded]
        times[len(asked) :][is_seeded] = events.times[place]
        channels[len(asked) :][is_seeded] = events.channels[place]
        users = workload.subject[asked].tolist()
        values = (cents[: len(asked)] / 100).tolist()
        epochs = (times + DATA_EPOCH_MS).tolist()
        named = [names[channel] for channel in channels.tolist()]
        base = len(asked) - starts[0]
        for number, request in enumerate(asked.tolist()):
            touched = slice(base + starts[number], base + starts[number] + counts[number])
            yield Journey(
                conversion_id=f"sim-c{request}", user_id=f"u{users[number]}",
                converted_ms=epochs[number], value=values[number],
                times_ms=tuple(reversed(epochs[touched])),
                channels=tuple(reversed(named[touched])),
            )  # fmt: skip
