"""The behaviours of the CDP's endpoints."""

from __future__ import annotations

from operator import attrgetter

from core.application.behaviour import Behaviour

TRACK = Behaviour(
    answer=attrgetter("track"),
    body={
        True: b'{"accepted":true,"duplicate":false}',
        False: b'{"accepted":true,"duplicate":true}',
    },
    answers="It is stored, now or before.",
    schema={"$ref": "#/components/schemas/Accepted"},
    faults=(403, 413, 504),
)
STORE = Behaviour(answer=attrgetter("store_alone"), body=TRACK.body)
ATTRIBUTION = Behaviour(
    answer=attrgetter("attribution"),
    absent=("no_conversion", "conversion {!r} is not known; track it first"),
    answers="The credits; they add up to 1.",
    schema={"$ref": "#/components/schemas/Attribution"},
    faults=(404, 422, 504),
)
JOURNEY = Behaviour(
    answer=attrgetter("journey"),
    absent=("no_journey", "user {!r} has no events; track one first"),
    answers="The events.",
    schema={"$ref": "#/components/schemas/Journey"},
)
CHANNELS = Behaviour(
    answer=attrgetter("channels"),
    answers="The channels.",
    schema={"$ref": "#/components/schemas/Channels"},
    faults=(504,),
)
