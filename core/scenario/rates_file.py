"""Reading a table of arrival rates: a CSV with the columns time and rate."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.units import parse_duration

MAX_BYTES = 4_000_000
MOST_ROWS = 10_000
_CLOCK = re.compile(r"(\d{1,3}):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?")


def with_rates(traffic: Any, folder: Path, source: str) -> Any:
    """Return the data of [traffic] with the rows of the file that its rates name.

    A path counts from *folder*. Raise InputError, naming *source*, for a file that cannot be used.
    """
    if not isinstance(traffic, Mapping):
        return traffic
    rates = traffic.get("rates")
    if isinstance(rates, str):
        rates = {"file": rates}
    if not isinstance(rates, Mapping) or not isinstance(rates.get("file"), str):
        return traffic
    where = f"{source}: traffic.rates"
    if "rows" in rates:
        raise InputError(f"{where} has a file and rows; leave one of them out")
    path = folder / rates["file"]
    return {**traffic, "rates": {**rates, "rows": read_rates(path, where)}}


def read_rates(path: Path, where: str) -> list[list[float]]:
    """Return [seconds, requests/s] of each row of the CSV at *path*.

    Times are seconds, durations (15min) or times of day (08:30), and ascend. Raise InputError, with
    *where* and the line, for what is none.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{where}: {path} is larger than {MAX_BYTES:,} bytes; give fewer rows")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(
            f"{where}: {path} cannot be read ({reason}); give a CSV with the columns time and "
            "rate, by a path from the scenario's folder, or with --set from here"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{where}: {path} is not UTF-8; save it as UTF-8") from None
    try:
        return _rows(text)
    except (ValueError, csv.Error) as error:
        raise InputError(f"{where}: {path}{error}") from None


def _rows(text: str) -> list[list[float]]:
    reader = csv.reader(text.splitlines(), strict=True)
    places: tuple[int, int] | None = None
    found: list[list[float]] = []
    for row in reader:
        if not row or not any(cell.strip() for cell in row):
            continue
        names = [cell.strip().lower() for cell in row]
        line = reader.line_num
        if places is None:
            if not {"time", "rate"} <= set(names):
                raise ValueError(
                    f", line {line}: the columns are {', '.join(row)[:200]!r}; name them time and "
                    "rate in the first line"
                )
            places = names.index("time"), names.index("rate")
            continue
        try:
            time, rate = (row[place].strip() for place in places)
        except IndexError:
            raise ValueError(f", line {line}: lacks a column; give a time and a rate") from None
        found.append([_time(time, line), _rate(rate, line)])
        if len(found) > 1 and found[-1][0] <= found[-2][0]:
            raise ValueError(f", line {line}: the time {time} is not after the one before; sort it")
        if len(found) > MOST_ROWS:
            raise ValueError(f", line {line}: more than {MOST_ROWS:,} rows; give fewer")
    if len(found) < 2:
        raise ValueError(f": has {len(found)} rows with a rate; a curve needs two")
    if not any(rate for _, rate in found):
        raise ValueError(": every rate is 0; at least one has to be more")
    return found


def _time(text: str, line: int) -> float:
    if clock := _CLOCK.fullmatch(text):
        return int(clock[1]) * 3600.0 + int(clock[2]) * 60.0 + float(clock[3] or 0)
    try:
        value = float(text)
    except ValueError:
        try:
            value = parse_duration(text)
        except ValueError:
            value = math.nan
    if not 0 <= value <= 1e9:
        raise ValueError(
            f", line {line}: the time is {text[:40]!r}; give seconds, a duration such as 15min, or "
            "a time of day such as 08:30"
        )
    return value


def _rate(text: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1e6:
        raise ValueError(
            f", line {line}: the rate is {text[:40]!r}; give requests/s, from 0 to 1,000,000"
        )
    return value
