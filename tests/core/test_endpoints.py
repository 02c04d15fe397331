"""What a description of an endpoint may say, and what a table derives from it."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import pytest

from core.endpoint import STORE_SLOT, Endpoint, Read
from core.endpoints import CDP, EndpointTable

READ = Read(name="profile", cache_type="profiles")


def endpoint(**fields: Any) -> Endpoint:
    stated: dict[str, Any] = {
        "name": "profile", "path": "/profile/{user_id}", "title": "profile requests",
        "subject": "user", "behaviour": "profile:PROFILE", "reads": (READ,),
    }  # fmt: skip
    return Endpoint(**stated | fields)


def test_lists_of_the_cdp_are_derived_from_its_descriptions() -> None:
    assert CDP.names == ("track", "attribution", "journey", "channels")
    assert CDP.read_names["track"] == ("config", "lookup")
    assert CDP.cache_types == {
        "security_config": 900.0, "lookup_data": 600.0, "attribution": 3600.0,
        "user_journeys": 300.0, "channel_metrics": 1800.0,
    }  # fmt: skip
    assert (CDP.keyed, CDP.writers) == (("track", "attribution", "journey"), ("track",))
    assert [e.arguments for e in CDP] == [(), ("conversion_id", "model"), ("user_id",), ("model",)]
    assert [e.identifier for e in CDP] == [None, "conversion_id", "user_id", None]
    assert [read.name for e in CDP for read in e.primary] == [
        "lookup", "attribution", "journey", "channels",
    ]  # fmt: skip
    assert (CDP.slot_count, CDP.read_width) == (3, 2)
    assert [e.reads[e.primary_read].name for e in CDP] == [
        "lookup", "attribution", "journey", "channels",
    ]  # fmt: skip


def test_columns_beyond_the_reads_of_an_endpoint_hold_unnamed_reads() -> None:
    assert [CDP.read_name("track", slot) for slot in (0, 1)] == ["config", "lookup"]
    assert [CDP.read_name("journey", slot) for slot in (0, 1)] == ["journey", "journey (unnamed)"]


def test_primary_read_is_the_first_one_whose_key_is_the_subject() -> None:
    shared = Read(name="flags", cache_type="flags", key="none")
    more = Read(name="more", cache_type="more")
    assert endpoint(reads=(shared, READ, more)).primary_read == 1
    assert endpoint(reads=(shared,)).primary_read == 0
    assert endpoint(reads=()).primary_read == 0


@pytest.mark.parametrize(
    ("count", "slots"), [(0, []), (1, [1]), (2, [0, 1]), (3, [0, 1, 3]), (4, [0, 1, 3, 4])]
)
def test_every_operation_of_a_request_has_a_slot_of_its_own(count: int, slots: list[int]) -> None:
    reads = tuple(Read(name=f"r{i}", cache_type=f"t{i}") for i in range(count))
    table = CDP.with_endpoint(endpoint(reads=reads))
    found = table["profile"].slots
    assert [found[read.name] for read in reads] == slots
    assert found["write"] == STORE_SLOT
    assert max([STORE_SLOT, *slots]) < table.slot_count
    # No endpoint moves the numbers of another one.
    assert all(table[name].slots == CDP[name].slots for name in CDP.names)


def test_operation_that_is_none_of_the_endpoint_is_named() -> None:
    with pytest.raises(ValueError, match="'lookup' is no read of the endpoint"):
        CDP["journey"].slots["lookup"]


def test_table_is_read_back_from_its_data_and_goes_to_other_processes() -> None:
    table = CDP.with_endpoint(endpoint(method="DELETE", cpu=0.0, status=204, weight=0.5))
    assert EndpointTable.from_data(json.loads(json.dumps(table.to_data()))) == table
    assert pickle.loads(pickle.dumps(table)) == table
    assert hash(table) != hash(CDP)
    assert "profile" in table
    assert "profile" not in CDP
    with pytest.raises(KeyError):
        CDP.index("profile")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": "Profile"}, "endpoint 'Profile': use 1 to 32 of a-z"),
        ({"name": "default"}, "none of default, per_l2_operation"),
        ({"title": ""}, "profile: title is needed"),
        ({"subject": "shop"}, "subject is 'shop'; use user, conversion, model, none"),
        ({"cpu": -1e-3}, "cpu is -0.001; it is a number from 0 on"),
        ({"cpu": float("inf")}, "cpu is inf"),
        ({"weight": "a"}, "weight is 'a'"),
        ({"status": 404}, "status is 404; use 200 to 299"),
        ({"behaviour": "profile"}, "write it as module:NAME"),
        ({"method": "FETCH"}, "method is 'FETCH'; use GET"),
        ({"path": "profile"}, "path is 'profile'; write it as /segment"),
        ({"path": "/a/b/{user_id}"}, "write it as /segment"),
        ({"path": "/profile?id={user_id}"}, r"/segment\?name=\{name\}"),
        ({"path": "/profile/{user_id}?{model}"}, "write it as /segment"),
        (
            {"path": "/api/{user_id}"},
            "the service's own paths begin with api, metrics, openapi.json",
        ),
        ({"path": "/profile"}, r"a user is asked for with \{user_id\}, \{model\}, once each"),
        ({"path": "/profile/{shop_id}"}, "a user is asked for with"),
        ({"path": "/profile/{user_id}?user_id={user_id}"}, "once each"),
        ({"subject": "none"}, "a none is asked for with no placeholder"),
        ({"writes": "row"}, "writes is 'row'; use event"),
        ({"writes": "event"}, "an event is written by POST"),
        ({"reads": (READ, READ)}, "two reads have one name"),
        ({"reads": (replace(READ, key="site"),)}, "a read by site needs the event"),
    ],
)
def test_description_that_cannot_be_is_refused_with_its_reason(
    fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        endpoint(**fields)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": "write"}, "read 'write': use 1 to 32"),
        ({"cache_type": "default"}, "read profile: cache type 'default'"),
        ({"ttl": 0}, "ttl is 0; a TTL is more than 0 s"),
        ({"key": "user"}, "key is 'user'; use subject, site or none"),
    ],
)
def test_read_that_cannot_be_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(READ, **fields)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": "track"}, "endpoint track stands twice"),
        ({"path": "/journey/{user_id}"}, "journey and profile both answer GET /journey"),
        ({"reads": (replace(READ, name="lookup"),)}, "read lookup of profiles contradicts"),
        ({"reads": (Read(name="p", cache_type="lookup_data", ttl=1.0),)}, "one ttl and one key"),
        (
            {"reads": (Read(name="p", cache_type="attribution", ttl=3600.0),)},
            "entries of attribution are about a conversion, and this endpoint's subject is a user",
        ),
    ],
)
def test_table_that_contradicts_itself_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        CDP.with_endpoint(endpoint(**fields))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"x": 1}, "endpoints are a list"),
        (["x"], "endpoint 'x' is no table"),
        ([], "0 endpoints"),
        ([{"name": "x"}], "endpoint 'x': .*missing"),
        ([{**CDP.to_data()[2], "colour": "red"}], "endpoint 'journey': .*'colour'"),
    ],
)
def test_data_of_no_table_is_refused(data: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        EndpointTable.from_data(data)
