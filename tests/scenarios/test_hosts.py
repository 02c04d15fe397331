"""Only this machine is loaded, unless a host is named; isolates find their host."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from core.errors import InputError
from core.scenario.addresses import is_loopback
from core.scenario.topology import Topology
from core.scenario.workload import generate_workload
from scenarios.hosts import (
    HostUnreachable,
    check_bounds,
    check_reachable,
    checked_hosts,
    named_hosts,
    peak_rate,
)
from scenarios.routing import ROUTING_UNKNOWN, Routing
from tests.scenarios.loads import small_plan, small_scenario


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "::1"])
def test_an_address_of_this_machine_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["example.com", "10.0.0.1", "0.0.0.0", "127.1", "localhost.example.com", "::", ""]
)
def test_any_other_address_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("address", ["/?token=s3cr3t", "/#s3cr3t", "/a b"])
def test_host_that_is_more_or_less_than_an_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=r"a query or fragment|write it as %20") as caught:
        checked_hosts([f"http://127.0.0.1:1{address}"])
    assert "s3cr3t" not in str(caught.value)


def test_foreign_host_is_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match=r"--i-am-allowed-to-load staging\.example\.com"):
        checked_hosts(["http://staging.example.com"])


def test_foreign_host_is_taken_only_under_its_exact_name() -> None:
    url = "https://staging.example.com/"
    allowed = ["Staging.example.com"]
    assert checked_hosts([url], allowed=allowed) == ("https://staging.example.com",)
    with pytest.raises(InputError):
        checked_hosts([url], allowed=["example.com"])


def test_names_come_from_options_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPROOF_ALLOWED_HOSTS", "a.example, B.example,")
    assert named_hosts(["c.example", "a.example"]) == ("c.example", "a.example", "b.example")


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("ftp://127.0.0.1", "not an http"),
        ("127.0.0.1:80", "not an http"),
        ("http://", "not an http"),
        ("http://user:secret@127.0.0.1", "credentials"),
        ("http://127.0.0.1/?a=1", "query"),
        ("http://127.0.0.1:port", "not a URL"),
    ],
)
def test_faulty_url_is_refused(url: str, fault: str) -> None:
    with pytest.raises(InputError, match=fault) as caught:
        checked_hosts([url])
    assert "secret" not in str(caught.value)


def test_no_host_is_refused() -> None:
    with pytest.raises(InputError, match="no host"):
        checked_hosts([])


def test_load_above_the_bounds_is_refused() -> None:
    scenario = small_scenario(rate=100)
    workload = generate_workload(scenario)
    check_bounds(scenario, workload, max_rate=100, max_duration=1)
    with pytest.raises(InputError, match="100 requests/s is above the bound of 99"):
        check_bounds(scenario, workload, max_rate=99)
    with pytest.raises(InputError, match="1 s of load is above the bound of 0"):
        check_bounds(scenario, workload, max_duration=0.5)


def test_load_of_a_trace_s_own_times_is_bounded_by_them_and_not_by_the_stages() -> None:
    scenario = small_scenario(rate=100)
    drawn = generate_workload(scenario)
    timed = replace(drawn, intended_ns=drawn.intended_ns // 2, is_timed=True)
    traced = scenario.model_copy(
        update={"trace": scenario.trace.model_copy(update={"file": "t.csv"})}
    )
    assert peak_rate(traced, timed) == len(timed)  # all lie within a second
    few = replace(timed, intended_ns=timed.intended_ns * 10_000)
    check_bounds(traced, few, max_rate=99)
    with pytest.raises(InputError, match="100 requests/s is above"):
        check_bounds(traced, replace(few, is_timed=False), max_rate=99)


def test_refused_connection_names_the_url() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(HostUnreachable, match=f"{url} takes no connection") as caught:
            check_reachable([url])
    assert "\n" not in str(caught.value)


def test_one_url_per_process_divides_the_isolates() -> None:
    topology = Topology(processes=2, isolates=3)
    routing = Routing.of(topology, ["a", "b"])
    assert routing.host.tolist() == [0, 0, 0, 1, 1, 1]
    assert routing.header.tolist() == [0, 1, 2, 0, 1, 2]
    assert routing.note is None


def test_one_url_per_isolate_needs_no_header() -> None:
    routing = Routing.of(Topology(processes=2, isolates=2), ["a", "b", "c", "d"])
    assert routing.host.tolist() == [0, 1, 2, 3]
    assert routing.header.tolist() == [0, 0, 0, 0]


def test_single_url_before_several_processes_is_marked() -> None:
    routing = Routing.of(Topology(processes=2, isolates=2), ["a"])
    assert routing.header.tolist() == [0, 1, 2, 3]
    assert routing.note == ROUTING_UNKNOWN


def test_single_url_of_a_single_process_is_known() -> None:
    assert Routing.of(Topology(processes=1, isolates=4), ["a"]).note is None


def test_other_numbers_of_urls_are_refused() -> None:
    with pytest.raises(InputError, match=r"3 hosts for 2 processes .*\(2\).*\(4\)"):
        Routing.of(Topology(processes=2, isolates=2), ["a", "b", "c"])


def test_plan_checks_hosts_and_routing() -> None:
    with pytest.raises(InputError, match="not this machine"):
        small_plan(small_scenario(), ["http://10.1.2.3"])
    with pytest.raises(InputError, match="3 hosts"):
        small_plan(small_scenario(), [f"http://127.0.0.1:{port}" for port in (1, 2, 3)])
