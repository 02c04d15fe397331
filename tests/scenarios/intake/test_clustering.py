"""Claims about proposed endpoints: paths that differ in ids only become one."""

from __future__ import annotations

import pytest

from scenarios.intake.clustering import MOST_ENDPOINTS, Collector, is_id
from scenarios.intake.layout import Field


def proposed(*requests: str, status: int = 200) -> list[str]:
    """Return the rules that *requests* ("GET /a") give."""
    collector = Collector()
    for request in requests:
        fields = {Field.REQUEST: f"{request} HTTP/1.1".encode()}
        collector.row(fields, 0, status, -1)
    return [str(rule) for rule in collector.propose()]


@pytest.mark.parametrize(
    "segment",
    ["42", "3084", "c3084", "c3", "550e8400-e29b-41d4-a716-446655440000", "deadbeef01",
     "anna@example.com", "a%20b", "x" * 40, "order-2026-11-20"],
)  # fmt: skip
def test_ids_are_told_from_words(segment: str) -> None:
    assert is_id(segment.encode())


@pytest.mark.parametrize("segment", ["v1", "V2.1", "users", "track", "oauth2", "api2", "red-shoes"])
def test_words_of_routes_are_no_ids(segment: str) -> None:
    assert not is_id(segment.encode())


def test_paths_that_differ_in_ids_are_one_endpoint() -> None:
    assert proposed(
        *(f"GET /product/{n}?ref={n}" for n in range(50)),
        *(f"GET /users/{n}/orders/{n * 7}" for n in range(20)),
        *["POST /track"] * 10, "GET /v1/status", "GET /",
    ) == [
        "product = GET /product/{product_id}",
        "users_orders = GET /users/{user_id}/orders/{order_id}",
        "track = POST /track",
        "home = GET /",
        "v1_status = GET /v1/status",
    ]  # fmt: skip


def test_methods_of_one_path_are_endpoints_of_their_own() -> None:
    assert proposed("GET /cart/1", "PUT /cart/1", "GET /cart/2", "OPTIONS /cart") == [
        "get_cart = GET /cart/{cart_id}",
        "options_cart = OPTIONS /cart",
        "put_cart = PUT /cart/{cart_id}",
    ]


def test_names_of_many_things_become_one_endpoint_and_a_route_among_them_stays() -> None:
    words = [f"{a}{b}-shoe" for a in "abcdefgh" for b in "klmnop"]
    rules = proposed(*(f"GET /p/{word}" for word in words * 2), *["GET /p/search"] * 40)
    assert rules == ["p = GET /p/{p_id}", "p_search = GET /p/search"]


def test_numbered_words_become_one_where_ids_stand_beside_them() -> None:
    assert proposed("GET /a/abc1", "GET /a/3084", "GET /a/3085") == ["a = GET /a/{a_id}"]


def test_static_files_and_what_never_succeeds_give_no_endpoint() -> None:
    assert proposed("GET /app.js", "GET /img/a.PNG") == []
    assert proposed("GET /wp-login.php", status=404) == []


def test_slash_at_the_end_is_kept() -> None:
    assert proposed("GET /items/1/", "GET /items/2/") == ["items = GET /items/{item_id}/"]


def test_there_are_at_most_so_many_endpoints_and_all_have_names_of_their_own() -> None:
    paths = [f"GET /{a}{b}/{c}" for a in "abcdefgh" for b in "xyz" for c in ("one", "two")]
    rules = proposed(*paths)
    assert len(rules) == MOST_ENDPOINTS
    assert len({rule.partition(" ")[0] for rule in rules}) == len(rules)


def test_rare_pages_of_a_large_log_are_not_named() -> None:
    rules = proposed(*["GET /home"] * 3000, "GET /reset/secretword")
    assert rules == ["home = GET /home"]


def test_text_of_a_path_cannot_break_a_rule() -> None:
    rules = proposed('GET /a{b}"c\\d#', "GET /\xe4\xf6")
    assert len(rules) == 2
    assert all(rule.isascii() for rule in rules)
