"""The destination of the scenario: where finished conversions are forwarded to."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from core.distributions import Latency, parse_distribution
from core.scenario.addresses import is_loopback
from core.scenario.table import Table
from core.units import Duration

NONE = "none"
"""What stands in a file for no URL."""

LOCAL = "local"
"""The URL that stands for a small server which comes and goes with the service."""


def _latency(**points: str) -> Any:
    return Field(default_factory=lambda: parse_distribution(points))


class Destination(Table):
    """Who is told of finished conversions over HTTP; without a URL nobody is.

    latency: of a delivery, in the simulation and to the local server.
    """

    url: str | None = None
    token_variable: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")] | None = None
    timeout: Annotated[Duration, Field(gt=0, le=300)] = 5.0
    batch_size: Annotated[int, Field(ge=1, le=100)] = 50
    max_parallel: Annotated[int, Field(ge=1, le=100)] = 2
    max_attempts: Annotated[int, Field(ge=1, le=101)] = 12
    retry_delay: Annotated[Duration, Field(ge=0, le=3600)] = 1.0
    latency: Latency = _latency(p50="50ms", p99="200ms")

    @field_validator("url", mode="before")
    @classmethod
    def _none_is_no_url(cls, url: Any) -> Any:
        return None if url == NONE else url

    @property
    def is_local(self) -> bool:
        """Whether a server of our own stands for the destination."""
        return self.url == LOCAL

    @model_validator(mode="after")
    def _url_is_usable(self) -> Self:
        if self.url is None or self.is_local:
            if self.token_variable is not None:
                raise ValueError("token_variable goes with the URL of a destination; leave it out")
            return self
        import httpx  # slow to import, and most scenarios name no URL

        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise ValueError(f"url is no URL ({error}); write https://HOST/PATH") from None
        if url.userinfo:
            raise ValueError("url holds a name or password; use token_variable")  # not shown
        is_port = url.port is None or 1 <= url.port <= 65_535
        if url.scheme not in ("http", "https") or not url.host or not is_port or " " in self.url:
            raise ValueError(
                f"url is {self.url[:100]!r}; write https://HOST/PATH, http://HOST/PATH, "
                f'"{LOCAL}" or "{NONE}"'
            )
        if self.token_variable is not None and url.scheme == "http" and not is_loopback(url.host):
            raise ValueError("url is http, which would show the token to others; use https")
        return self
