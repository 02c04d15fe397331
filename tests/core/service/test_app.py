"""Claims about the four endpoints, over real sockets: what they answer and what they refuse."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from core.attribution.parameters import Parameters
from tests.core.ledger.driven import driven_credits, effects_of, walks_of
from tests.core.ledger.worlds import credits_of
from tests.core.service.serving import (
    MODELS,
    NOW_MS,
    Tree,
    Visitor,
    event_of,
    problem,
    seeded_world,
    sources_of,
)

MISS = "L2; fwd=uri-miss; read={0}, L1; fwd=uri-miss; read={0}"
L2_HIT = "L2; hit; read={0}, L1; fwd=uri-miss; read={0}"
L1_HIT = "L1; hit; read={0}"
L1_NEGATIVE = "L1; hit; detail=negative; read={0}"
L2_NEGATIVE = "L2; hit; detail=negative; read={0}, L1; fwd=uri-miss; read={0}"


def status_of(answer: httpx.Response) -> str:
    return answer.headers["Cache-Status"]


def timing_of(answer: httpx.Response) -> list[tuple[str, float]]:
    """Return name and milliseconds of each metric."""
    metrics = []
    for text in answer.headers["Server-Timing"].split(", "):
        match = re.fullmatch(r"([a-z0-9]+);dur=(\d+\.\d+)", text)
        assert match, text
        metrics.append((match[1], float(match[2])))
    return metrics


# --- what a read answers, and from where -------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/attribution/c1?model=u_shape", "attribution"),
        ("/journey/u1", "journey"),
        ("/channels?model=u_shape", "channels"),
    ],
)
def test_read_misses_once_then_hits_l1_and_on_another_isolate_l2(
    on_each_l2: Visitor, path: str, name: str
) -> None:
    answers = [on_each_l2.get(path, isolate=isolate) for isolate in (0, 0, 1, 1, 3)]
    patterns = (MISS, L1_HIT, L2_HIT, L1_HIT, L2_HIT)
    assert [status_of(answer) for answer in answers] == [p.format(name) for p in patterns]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert len({answer.content for answer in answers}) == 1
    stages = [[stage for stage, _ in timing_of(answer)] for answer in answers]
    assert stages[0] == ["l1", "l2", "l3", "l3wait", "cpu", "total"]
    assert stages[1] == stages[3] == ["l1", "cpu", "total"]
    assert stages[2] == stages[4] == ["l1", "l2", "cpu", "total"]


def test_tracking_reads_configuration_and_user_and_hits_the_second_time(
    on_each_l2: Visitor,
) -> None:
    def track(isolate: int) -> str:
        answer = on_each_l2.track(user_id="u2", site_id="s2", isolate=isolate)
        assert (answer.status_code, answer.json()["duplicate"]) == (202, False)
        stages = [stage for stage, _ in timing_of(answer)]
        assert stages[-4:] == ["l3", "l3wait", "cpu", "total"]
        return status_of(answer)

    for isolate, pattern in ((2, MISS), (2, L1_HIT), (0, L2_HIT)):
        assert track(isolate) == ", ".join(pattern.format(k) for k in ("config", "lookup"))


def test_absence_is_kept_too_and_counted_as_a_hit(on_each_l2: Visitor) -> None:
    paths = {"journey": "/journey/nobody", "attribution": "/attribution/none?model=linear"}
    for key, path in paths.items():
        answers = [on_each_l2.get(path, isolate=isolate) for isolate in (0, 0, 1)]
        for answer in answers:
            problem(answer, 404)
        patterns = (MISS, L1_NEGATIVE, L2_NEGATIVE)
        assert [status_of(answer) for answer in answers] == [p.format(key) for p in patterns]


@pytest.mark.parametrize(
    "path",
    [
        "/attribution/c3?model=linear",
        "/attribution/nothing?model=linear",
        "/journey/u3",
        "/journey/nothing",
        "/channels?model=linear",
    ],
)
def test_every_answer_tells_tiers_and_times(visitor: Visitor, path: str) -> None:
    for _ in range(2):
        answer = visitor.get(path)
        assert answer.status_code in (200, 404)
        assert answer.headers["Content-Type"] == "application/json"
        assert status_of(answer)
        metrics = timing_of(answer)
        spent = dict(metrics)
        assert len(spent) == len(metrics)
        assert {"l1", "cpu", "total"} <= set(spent)
        assert spent["total"] >= spent["l1"] + spent.get("l2", 0.0)


@pytest.mark.parametrize(
    "path", ["/attribution/c1", "/channels?model=none", f"/journey/{'x' * 201}"]
)
def test_refusal_without_a_read_tells_its_time_only(visitor: Visitor, path: str) -> None:
    answer = visitor.get(path)
    problem(answer, 400)
    assert "Cache-Status" not in answer.headers
    assert [name for name, _ in timing_of(answer)] == ["cpu", "total"]


# --- attribution and journeys ------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_attribution_equals_the_credits_of_the_seeded_touches(visitor: Visitor, model: str) -> None:
    world = seeded_world(visitor.scenario)
    assert len(world.conversions) == 30
    effects = effects_of(walks_of(world))
    for position, (name, (user, converted, value)) in enumerate(world.conversions.items()):
        touches = world.journey(name)
        answer = visitor.attribution(name, model, isolate=position % 4)
        times, channels = [time for time, _ in touches], [channel for _, channel in touches]
        found = answer.json()
        origin: dict[str, Any] = {"parameters_key": Parameters().key()}
        if model == "data_driven":
            shares = tuple(point["credit"] for point in found["touchpoints"])
            assert shares == pytest.approx(driven_credits(channels, effects), abs=1e-9)
            origin |= {"model_version": found["model_version"], "fallback": None}
        else:
            shares = credits_of(model, times, converted)
        last = len(touches) - 1
        roles = ["first", *["middle"] * (last - 1), "last"] if last else ["only"]
        assert found == {
            "conversion_id": name,
            "user_id": user,
            "model": model,
            **origin,
            "conversion_timestamp": converted,
            "value": value,
            "touchpoints": [
                {
                    "touchpoint_index": index,
                    "utm_source": channel,
                    "event_timestamp": time,
                    "credit": share,
                    "credit_percentage": 100 * share,
                    "role": role,
                }
                for index, ((time, channel), share, role) in enumerate(
                    zip(touches, shares, roles, strict=True)
                )
            ],
        }


def test_tracked_conversion_reaches_the_attribution_tables_through_the_queue(
    visitor: Visitor,
) -> None:
    user, conversion = visitor.fresh("user"), visitor.fresh("conversion")
    before = visitor.counters()["conversions_processed"]
    for age, channel in ((3, "bing"), (2, "email"), (1, None)):
        answer = visitor.track(user_id=user, timestamp=NOW_MS - age, utm_source=channel)
        assert answer.json() == {"accepted": True, "duplicate": False}
    bought = visitor.track(
        user_id=user, event_name="purchase", conversion_id=conversion, value=12.5
    )
    assert (bought.status_code, bought.json()) == (202, {"accepted": True, "duplicate": False})
    counters = visitor.await_processed(before + 1)
    assert counters["queue_given_up"] == counters["queue_retries"] == 0

    sql = "SELECT processed, value FROM conversions WHERE conversion_id = ?"
    assert visitor.rows(sql, conversion) == [(1, 12.5)]
    sql = (
        "SELECT utm_source, linear, u_shape, last_click FROM touch_credits WHERE conversion_id = ?"
    )
    assert visitor.rows(sql, conversion) == [
        ("bing", 1 / 3, 0.4, 0.0), ("email", 1 / 3, 0.2, 0.0), ("(direct)", 1 / 3, 0.4, 1.0),
    ]  # fmt: skip
    sql = (
        "SELECT sum(credit_percentage) FROM multi_touch_attribution WHERE conversion_id = ?"
        " GROUP BY attribution_model"
    )
    sums = [total for (total,) in visitor.rows(sql, conversion)]
    assert sums == pytest.approx([100] * len(MODELS), abs=1e-9)
    answered = visitor.attribution(conversion, "u_shape").json()
    assert [point["credit"] for point in answered["touchpoints"]] == [0.4, 0.2, 0.4]
    assert answered["value"] == 12.5


def test_channels_answer_with_what_the_database_holds_and_conserve_credit(
    visitor: Visitor,
) -> None:
    conversion = visitor.fresh("conversion")
    before = visitor.counters()["conversions_processed"]
    visitor.track(user_id="u4", conversion_id=conversion, value=99.0)
    visitor.await_processed(before + 1)
    visitor.invalidate(prefix="channels:")
    attributed = visitor.rows(
        "SELECT count(*), sum(value) FROM conversions"
        " WHERE conversion_id IN (SELECT conversion_id FROM touch_credits)"
    )[0]
    for model in MODELS:
        shown = visitor.get(f"/channels?model={model}").json()
        assert shown["model"] == model
        rows = visitor.rows(
            "SELECT utm_source, total_attribution, total_conversions, total_value"
            " FROM channel_performance WHERE attribution_model = ?",
            model,
        )
        found = {
            channel["utm_source"]: (
                channel["total_attribution"], channel["total_conversions"], channel["total_value"],
            )
            for channel in shown["channels"]
        }  # fmt: skip
        assert found == {row[0]: row[1:] for row in rows}
        credits = [channel["total_attribution"] for channel in shown["channels"]]
        assert credits == sorted(credits, reverse=True)
        assert sum(credits) == pytest.approx(attributed[0], abs=1e-9)
        assert sum(row[3] for row in rows) == pytest.approx(attributed[1], abs=1e-6)
        for channel in shown["channels"]:
            assert channel["avg_attribution_per_conversion"] == pytest.approx(
                channel["total_attribution"] / channel["total_conversions"]
            )


def test_journey_shows_the_newest_hundred_events_the_oldest_of_them_first(
    visitor: Visitor,
) -> None:
    user = visitor.fresh("user")
    ids = [visitor.fresh("event") for _ in range(105)]
    for position, event in enumerate(ids):
        assert visitor.http.post(
            "/track", json=event_of(event, user_id=user, timestamp=NOW_MS + position)
        ).json() == {"accepted": True, "duplicate": False}
    shown = visitor.get(f"/journey/{user}").json()
    assert shown["user_id"] == user
    assert [event["event_id"] for event in shown["events"]] == ids[5:]
    assert shown["events"][0] == {
        "event_id": ids[5],
        "event_name": "page_view",
        "utm_source": "email",
        "event_timestamp": NOW_MS + 5,
        "conversion_id": None,
    }


def test_journey_shows_the_campaign_that_an_event_came_with(visitor: Visitor) -> None:
    user, conversion = visitor.fresh("user"), visitor.fresh("conversion")
    campaign = {
        "utm_medium": "cpc", "utm_campaign": "spring ☃", "utm_term": "boots", "utm_content": "b2",
    }  # fmt: skip
    sent: list[Tree] = [
        campaign,
        {"utm_medium": "mail", "utm_term": None, "utm_content": ""},
        dict.fromkeys(campaign, ""),
        campaign | {"conversion_id": conversion, "value": 2.0},
    ]
    for position, more in enumerate(sent):
        event = event_of(visitor.fresh("event"), user_id=user, timestamp=NOW_MS + position, **more)
        answer, again = (visitor.http.post("/track", json=event) for _ in range(2))
        assert (answer.json()["duplicate"], again.json()["duplicate"]) == (False, True)
    shown = [
        {name: value for name, value in event.items() if name in campaign}
        for event in visitor.get(f"/journey/{user}").json()["events"]
    ]
    assert shown == [campaign, {"utm_medium": "mail"}, {}, campaign]
    visitor.await_counters(lambda now: not now["queue_pending"])
    columns = f"conversion_id, {', '.join(campaign)}"
    sql = f"SELECT {columns} FROM user_journeys WHERE conversion_id = ?"
    assert visitor.rows(sql, conversion) == [(conversion, *campaign.values())]
    credited = visitor.get(f"/attribution/{conversion}?model=linear").json()
    assert len(credited["touchpoints"]) == 3


@pytest.mark.parametrize("source", [{"utm_source": ""}, {"utm_source": None}, {}])
def test_event_without_a_source_is_direct(visitor: Visitor, source: dict[str, object]) -> None:
    event = {name: v for name, v in event_of(visitor.fresh("e")).items() if name != "utm_source"}
    event |= {"user_id": visitor.fresh("user"), **source}
    assert visitor.http.post("/track", json=event).status_code == 202
    assert sources_of(visitor.get(f"/journey/{event['user_id']}")) == {"(direct)"}


def test_duplicate_is_flagged_and_counts_once(visitor: Visitor) -> None:
    user, conversion = visitor.fresh("user"), visitor.fresh("conversion")
    processed = visitor.counters()["conversions_processed"]
    touch = event_of(visitor.fresh("event"), user_id=user, timestamp=NOW_MS - 1)
    bought = event_of(
        visitor.fresh("event"), user_id=user, conversion_id=conversion, value=5, utm_source="bing"
    )
    for event in (touch, bought):
        flags = [
            visitor.http.post("/track", json=event, headers={"Edgeproof-Isolate": isolate}).json()
            for isolate in ("0", "0", "1")
        ]
        assert [flag["duplicate"] for flag in flags] == [False, True, True]
    # Another event of the same conversion is an event, and no second conversion.
    assert visitor.track(user_id=user, conversion_id=conversion, value=5).json() == {
        "accepted": True,
        "duplicate": False,
    }
    other = visitor.fresh("conversion")
    visitor.track(user_id=user, conversion_id=other, value=1, timestamp=NOW_MS + 1)
    visitor.await_counters(
        lambda now: now["conversions_processed"] >= processed + 2 and not now["queue_pending"]
    )
    assert visitor.counters()["conversions_processed"] == processed + 2
    assert len(visitor.get(f"/journey/{user}").json()["events"]) == 4
    sql = "SELECT utm_source, linear FROM touch_credits WHERE conversion_id = ?"
    assert visitor.rows(sql, conversion) == [("email", 1.0)]


def test_known_event_with_another_conversion_still_brings_it_once(visitor: Visitor) -> None:
    before = visitor.counters()["conversions_processed"]
    event, first, second = (visitor.fresh("x") for _ in range(3))
    bodies = [event_of(event, conversion_id=name, value=1) for name in (first, second, second)]
    flags = [visitor.http.post("/track", json=body).json()["duplicate"] for body in bodies]
    assert flags == [False, True, True]
    visitor.await_counters(
        lambda now: now["conversions_processed"] >= before + 2 and not now["queue_pending"]
    )
    assert visitor.counters()["conversions_processed"] == before + 2
    sql = "SELECT count(*) FROM conversions WHERE processed = 1 AND conversion_id IN (?, ?)"
    assert visitor.rows(sql, first, second) == [(2,)]


@pytest.mark.parametrize(("user", "segment"), [("u5", "returning"), ("u7", "lapsed")])
def test_event_carries_the_segment_of_its_user(visitor: Visitor, user: str, segment: str) -> None:
    event = visitor.fresh("event")
    visitor.http.post("/track", json=event_of(event, user_id=user))
    sql = "SELECT segment FROM user_journeys WHERE event_id = ?"
    assert visitor.rows(sql, event) == [(segment,)]


@pytest.mark.parametrize(
    "name", ["a/b c?d#e%f&g", "ünïcode-☃", "'; DROP TABLE conversions; --", "..", "a:b*[c]", "+"]
)
def test_any_text_is_a_usable_id(visitor: Visitor, name: str) -> None:
    identifier = f"{visitor.fresh('odd')}{name}"
    path = f"/journey/{quote(identifier, safe='')}"
    assert identifier in problem(visitor.get(path), 404).replace('\\"', '"')
    visitor.track(user_id=identifier, event_name=name)
    visitor.invalidate(prefix="journey:")
    (event,) = visitor.get(path).json()["events"]
    assert event["event_name"] == name


# --- what is refused ---------------------------------------------------------------------------

GOOD = event_of("never-stored", user_id="refused-user")
SALE = GOOD | {"conversion_id": "never-converted", "value": 1.0}
LONG = "x" * 201


def raw(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


def without(name: str) -> bytes:
    return raw({key: value for key, value in GOOD.items() if key != name})


IDS: tuple[object, ...] = (7, True, "", LONG, ["a"], {"a": 1}, "a\0b", "\ud800")
CONVERSION_IDS: tuple[object, ...] = (1, False, "", LONG, "\0", [])
TIMESTAMPS: tuple[object, ...] = (
    "1", 1.5, -1, True, None, [], 2**53, math.nan, math.inf, 10**400,
)  # fmt: skip
OTHER_UNITS: dict[object, str] = {
    1_767_225_600: "epoch seconds (2026-01-01T00:00Z); give epoch milliseconds, 1767225600000",
    1_767_225_600.25: "epoch seconds",
    1_767_225_600_000_000: "epoch microseconds (2026-01-01T00:00Z)",
    1_767_225_600_000_000_000: "epoch nanoseconds (2026-01-01T00:00Z)",
    0: "1970-01-01T00:00Z in epoch milliseconds; times from 1973 to 2100 are taken",
    99_999_999_999: "1973-03-03T09:46Z in epoch milliseconds; times from 1973",
    4_102_444_800_001: "2100-01-01T00:00Z in epoch milliseconds",
    50_000_000_000_000: "3554-06-09T16:53Z in epoch milliseconds",
}
VALUES: tuple[object, ...] = (
    None, "10", True, -0.01, [], math.nan, math.inf, 1e15, 10**300,
)  # fmt: skip

NOT_EVENTS: list[tuple[str, bytes]] = [
    ("not JSON", b""),
    ("not JSON", b"{"),
    ("not JSON", b"\xff\xfe\x00\xd8"),
    ("not JSON", b"[" * 60_000),
    ('"event_id" stands twice', raw(GOOD).replace(b"{", b'{"event_id": "other", ', 1)),
    ("has too many digits", b'{"event_id": ' + b"9" * 5_000 + b"}"),
    ("event_id", b'{"timestamp": 1764000000000, "event_id": ' + b"[" * 900 + b"]" * 900 + b"}"),
    ("not JSON", b'{"timestamp": ' + b"9" * 5_000 + b"}"),
    ("not a JSON object", b"[1]"),
    ("not a JSON object", b"null"),
    ("not a JSON object", b'"event"'),
    ("larger than 65,536 bytes", raw(GOOD).ljust(65_537)),
    ("larger than 65,536 bytes", b"x" * 3_000_000),
    *((name, without(name)) for name in ("event_id", "user_id", "site_id", "event_name")),
    ("timestamp", without("timestamp")),
    *(
        (name, raw(GOOD | {name: value}))
        for name in ("event_id", "user_id", "site_id", "event_name")
        for value in IDS
    ),
    *(
        (name, raw(GOOD | {name: value}))
        for name in ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
        for value in IDS
        if value != ""
    ),
    *(("conversion_id", raw(SALE | {"conversion_id": value})) for value in CONVERSION_IDS),
    *(("timestamp", raw(GOOD | {"timestamp": value})) for value in TIMESTAMPS),
    *(("value", raw(SALE | {"value": value})) for value in VALUES),
]


@pytest.mark.parametrize(("time", "said"), OTHER_UNITS.items())
def test_event_time_of_another_unit_or_age_is_refused_with_the_remedy(
    visitor: Visitor, time: object, said: str
) -> None:
    message = problem(visitor.http.post("/track", content=raw(GOOD | {"timestamp": time})), 400)
    assert message.startswith(f"timestamp is {time}: {said}")


def test_times_from_1973_to_2100_are_taken_whatever_the_clock_says(visitor: Visitor) -> None:
    for time in (100_000_000_000, 4_102_444_800_000, 1_767_225_600_000.0):
        assert visitor.track(user_id=visitor.fresh("user"), timestamp=time).status_code == 202


@pytest.mark.parametrize(("what", "body"), NOT_EVENTS)
def test_bad_event_is_refused_by_the_name_of_its_field(
    visitor: Visitor, what: str, body: bytes
) -> None:
    answer = visitor.http.post("/track", content=body)
    message = problem(answer, 413 if "larger" in what else 400)
    assert what in message
    assert len(message) < 500
    assert "Server-Timing" in answer.headers
    sql = "SELECT count(*) FROM user_journeys WHERE event_id = 'never-stored' OR user_id = ?"
    assert visitor.rows(sql, "refused-user") == [(0,)]


def test_longest_id_is_taken(visitor: Visitor) -> None:
    user = visitor.fresh("u").ljust(200, "x")
    assert visitor.track(user_id=user).status_code == 202
    assert len(visitor.get(f"/journey/{user}").json()["events"]) == 1
    assert "user id" in problem(visitor.get(f"/journey/{user}x"), 400)


def test_unknown_site_is_refused(visitor: Visitor) -> None:
    message = problem(visitor.track(site_id="nowhere"), 403)
    assert "nowhere" in message
    assert "name one of the table sites" in message


def test_disabled_site_is_refused(visitor: Visitor) -> None:
    connection = sqlite3.connect(visitor.folder / "cdp.sqlite")
    with connection:
        connection.execute("INSERT INTO sites VALUES ('closed', 0, 8192)")
    connection.close()
    answer = visitor.track(site_id="closed")
    assert "closed" in problem(answer, 403)
    assert status_of(answer) == MISS.format("config")


def test_event_larger_than_its_site_takes_is_refused(visitor: Visitor) -> None:
    event = event_of(visitor.fresh("event"))
    for size, status in ((8_192, 202), (8_193, 403), (65_536, 403)):
        body = raw(event).ljust(size)
        answer = visitor.http.post("/track", content=body)
        assert answer.status_code == status
    message = problem(answer, 403)
    assert "8192" in message
    assert message.endswith(": send a smaller one")


@pytest.mark.parametrize("isolate", ["4", "-1", "x", "", "1.0", "0x1", "1 2", "9" * 30])
@pytest.mark.parametrize("path", ["/channels?model=linear", "/journey/u1"])
def test_isolate_that_is_not_there_is_refused(visitor: Visitor, path: str, isolate: str) -> None:
    message = problem(visitor.get(path, isolate=isolate), 400)
    assert "Edgeproof-Isolate" in message
    assert "0 to 3" in message


@pytest.mark.parametrize(
    "model", ["none", "constructor", "LINEAR", "", "linear%00", "Data_driven", "x" * 5_000]
)
@pytest.mark.parametrize("path", ["/channels", "/attribution/c1", "/attribution/unknown"])
def test_unknown_model_is_refused_with_the_list(visitor: Visitor, path: str, model: str) -> None:
    message = problem(visitor.get(f"{path}?model={model}"), 400)
    assert all(name in message for name in MODELS)
    assert len(message) < 500


@pytest.mark.parametrize("query", ["", "?", "?models=linear", "?model=linear&model=linear"])
@pytest.mark.parametrize("path", ["/channels", "/attribution/c1"])
def test_model_is_asked_for_exactly_once(visitor: Visitor, path: str, query: str) -> None:
    assert "?model=" in problem(visitor.get(f"{path}{query}"), 400)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        *((m, "/track", {"POST"}) for m in ("GET", "PUT", "DELETE", "PATCH")),
        *((m, "/journey/u1", {"GET", "HEAD"}) for m in ("POST", "PUT", "DELETE")),
        *((m, "/attribution/c1", {"GET", "HEAD"}) for m in ("POST", "PUT", "DELETE")),
        *((m, "/channels", {"GET", "HEAD"}) for m in ("POST", "PUT", "DELETE")),
        ("POST", "/api/performance/stats", {"GET", "HEAD"}),
        ("GET", "/api/performance/cache-invalidate", {"POST"}),
        ("DELETE", "/api/performance/cache-invalidate", {"POST"}),
        ("GET", "/api/performance/run", {"POST"}),
    ],
)
def test_other_method_is_refused(
    visitor: Visitor, method: str, path: str, allowed: set[str]
) -> None:
    answer = visitor.http.request(method, path)
    problem(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "path",
    ["/", "/nothing", "/track/", "/channels/", "/attribution", "/journey", "/TRACK",
     "/api/performance", "/api/performance/", "/api/performance/stats/", "/docs"],
)  # fmt: skip
def test_unknown_path_is_not_found(visitor: Visitor, path: str) -> None:
    for method in ("GET", "POST"):
        problem(visitor.http.request(method, path), 404)


def test_empty_id_is_refused(visitor: Visitor) -> None:
    assert "conversion id" in problem(visitor.get("/attribution/?model=linear"), 400)
    assert "user id" in problem(visitor.get("/journey/"), 400)


def test_service_works_on_after_everything_that_it_refused(visitor: Visitor) -> None:
    for status, body in (
        (400, b""), (400, b"{"), (413, b"x" * 100_000), (400, raw(GOOD | {"timestamp": "x"})),
    ):  # fmt: skip
        problem(visitor.http.post("/track", content=body), status)
    answer = visitor.track()
    assert answer.json() == {"accepted": True, "duplicate": False}
