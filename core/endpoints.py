"""The endpoints of the application, and the cache reads that they make."""

from __future__ import annotations

ENDPOINTS = ("track", "attribution", "journey", "channels")
CACHE_TYPES = (
    "attribution",
    "channel_metrics",
    "user_journeys",
    "security_config",
    "lookup_data",
)
PRIMARY_CACHE_TYPE = {
    "track": "lookup_data",
    "attribution": "attribution",
    "journey": "user_journeys",
    "channels": "channel_metrics",
}
"""The cache read of each endpoint that its subject is the key of."""
READ_NAMES = {
    "track": ("config", "lookup"),
    "attribution": ("attribution",),
    "journey": ("journey",),
    "channels": ("channels",),
}
"""The cache reads of each endpoint, in their order."""
PRIMARY_READ = {
    "track": "lookup",
    "attribution": "attribution",
    "journey": "journey",
    "channels": "channels",
}
"""The read that an answer with one unnamed read is about: that of PRIMARY_CACHE_TYPE."""
PRIMARY_CACHE_TYPES = tuple(PRIMARY_CACHE_TYPE.values())
METHODS = {"track": "POST", "attribution": "GET", "journey": "GET", "channels": "GET"}
WITH_ID = ("attribution", "journey")
