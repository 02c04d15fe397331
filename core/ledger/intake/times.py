"""The times of events: ISO texts, or numbers since 1970 in a unit, as epoch milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.errors import InputError
from core.texts import count_of
from core.units import EARLIEST_MS, LATEST_MS, is_plausible, other_unit

Unit = Literal["s", "ms", "us", "ns"]
UNIT_NAMES: dict[str, str] = {
    "s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds",
}  # fmt: skip
_FACTORS = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}
_BY_NAME = {name: unit for unit, name in UNIT_NAMES.items()}
_DATE_LENGTH = 10


class Unusable(ValueError):
    """A value that no event can have; the message says why."""


def zone_of(text: str) -> tzinfo:
    """Return the time zone called *text*; InputError if there is none."""
    if text.upper() in ("UTC", "Z"):
        return UTC
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(
            f"--time-zone {text}: no such time zone; write UTC, or a name such as Europe/Berlin"
        ) from None


class Times:
    """Reads the times of one file's events.

    unit: of times that are numbers, None to tell it by the first one; zone: of texts without one,
    UTC where it is None; form: how texts are written, in the letters of strptime, ISO 8601 where
    it is "". kinds: what has been met, for the notices.
    """

    def __init__(self, unit: Unit | None, zone: tzinfo | None, form: str) -> None:
        self.unit: Unit | None = unit
        self._zone = UTC if zone is None else zone
        self._is_told, self._is_zoned = unit is not None, zone is not None
        self._form = form
        self.without_zone = self.dates = self.numbers = self.shifted = 0
        self._shifts = isinstance(zone, ZoneInfo)

    def reader(self) -> Callable[[object], int]:
        """Return what does as `of` does, sooner for nearly every text in ISO 8601."""
        if self._form:
            return self.of
        read, slowly = datetime.fromisoformat, self.of

        def time_of(value: object) -> int:
            try:
                time = read(value)  # type: ignore[arg-type]  # a TypeError is caught
            except (TypeError, ValueError):
                return slowly(value)
            if time.tzinfo is None:  # also digits that only look like a date
                return slowly(value)
            milliseconds = round(time.timestamp() * 1000)
            if EARLIEST_MS <= milliseconds <= LATEST_MS:
                return milliseconds
            return slowly(value)

        return time_of

    def of(self, value: object) -> int:
        """Return *value* as epoch milliseconds; Unusable if it is no time from 1973 to 2100."""
        if type(value) is str:
            if value[4:5] == "-" and not self._form:  # a date in ISO 8601: nearly every text
                return self._of_text(value)
            text = value.strip() if value[:1] <= " " or value[-1:] <= " " else value
            if self._form or not text.lstrip("-").replace(".", "", 1).isdecimal():
                return self._of_text(text)
            return self._of_number(float(text) if "." in text else int(text))
        if isinstance(value, datetime):
            return self._of_datetime(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._of_number(value)
        raise Unusable("time is missing")

    def _of_text(self, text: str) -> int:
        try:
            time = (
                datetime.strptime(text, self._form)  # the zone follows
                if self._form
                else datetime.fromisoformat(text)
            )
        except ValueError:
            if not self._form and text.upper().endswith((" UTC", " GMT")):
                return self._of_text(text[:-4] + "+00:00")
            if not self._form and text.endswith("z"):  # as RFC 3339 allows
                return self._of_text(text.upper())
            if not text:
                raise Unusable("time is missing") from None
            raise Unusable("time is not read (--time-format says how it is written)") from None
        if len(text) == _DATE_LENGTH and not self._form:
            self.dates += 1
        return self._of_datetime(time)

    def _of_datetime(self, time: datetime) -> int:
        if time.tzinfo is None:
            self.without_zone += 1
            time = time.replace(tzinfo=self._zone)
            if self._shifts and time.utcoffset() != time.replace(fold=1).utcoffset():
                self.shifted += 1
        milliseconds = round(time.timestamp() * 1000)
        if not EARLIEST_MS <= milliseconds <= LATEST_MS:
            raise Unusable("time is not between 1973 and 2100")
        return milliseconds

    def _of_number(self, number: float) -> int:
        if self.unit is None:
            if abs(number) > 1e20:
                raise Unusable("time is not between 1973 and 2100")
            if is_plausible(int(number)):
                self.unit = "ms"
            elif (found := other_unit(int(number))) is not None:
                self.unit = _BY_NAME[found[0]]  # type: ignore[assignment]  # its values are units
            else:
                raise Unusable("time is no time from 1973 to 2100 in any unit")
        assert self.unit is not None
        factor, divisor = _FACTORS[self.unit]
        try:
            milliseconds = int(number * factor // divisor)
        except (OverflowError, ValueError):
            milliseconds = -1
        if not EARLIEST_MS <= milliseconds <= LATEST_MS:
            raise Unusable(f"time in {UNIT_NAMES[self.unit]} is not between 1973 and 2100")
        self.numbers += 1
        return milliseconds

    def state(self) -> dict[str, Any]:
        """Return what has been met, as plain data."""
        return {
            "unit": self.unit, "is_told": self._is_told, "is_zoned": self._is_zoned,
            "without_zone": self.without_zone, "dates": self.dates, "numbers": self.numbers,
            "shifted": self.shifted,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned, or from nothing."""
        if state:
            self.unit = state["unit"]
            self.without_zone, self.dates = state["without_zone"], state["dates"]
            self.numbers, self.shifted = state["numbers"], state.get("shifted", 0)

    def add(self, state: Mapping[str, Any]) -> None:
        """Add what another file's times have met, for the notices of both."""
        if state:
            self.unit = state["unit"] or self.unit
            self._is_told, self._is_zoned = state["is_told"], state["is_zoned"]
            self.without_zone += state["without_zone"]
            self.dates += state["dates"]
            self.numbers += state["numbers"]
            self.shifted += state.get("shifted", 0)

    def notices(self) -> list[str]:
        """Return what was taken for granted of the times."""
        said = []
        if self.numbers and not self._is_told and self.unit is not None:
            said.append(
                f"times look like {UNIT_NAMES[self.unit]} since 1970 and are taken so; --time-unit "
                "says otherwise"
            )
        if self.without_zone and not self._is_zoned:
            have = "time has no zone and is", "times have no zone and are"
            said.append(
                f"{count_of(self.without_zone, *have)} taken as UTC; --time-zone says otherwise"
            )
        if self.shifted:
            have = "time stands", "times stand"
            said.append(
                f"{count_of(self.shifted, *have)} in an hour that the clocks of the zone run twice "
                "or leave out, and may be an hour off; export them in UTC"
            )
        if self.dates:
            have = "time is a date and is", "times are dates and are"
            said.append(
                f"{count_of(self.dates, *have)} taken as 00:00; events of one day stay in the "
                "order of the file"
            )
        return said
