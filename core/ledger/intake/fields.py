"""Which column of a file of events stands for what: stated, or recognised by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError
from core.texts import count_of, shown

FIELDS = (
    "user", "time", "channel", "event", "id", "conversion", "conversion_id", "value", "currency",
    "medium", "campaign", "term", "content",
)  # fmt: skip
"""What the columns of a file of events can stand for, in the order of a row."""

REQUIRED = ("user", "time")

_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": (
        "user", "user_id", "userid", "user_pseudo_id", "visitor_id", "visitorid", "idvisitor",
        "client_id", "clientid", "customer_id", "cookie", "anonymous_id", "distinct_id",
    ),
    "time": (
        "time", "timestamp", "event_timestamp", "event_time", "ts", "datetime", "date_time",
        "server_time", "created_at", "date",
    ),
    "channel": (
        "channel", "utm_source", "source", "traffic_source", "channel_grouping", "channelgrouping",
        "default_channel_group",
    ),
    "event": ("event", "event_name", "eventname", "event_type", "name"),
    "id": ("event_id", "eventid", "message_id", "messageid", "insert_id", "$insert_id",
           "idlink_va"),
    "conversion": ("conversion", "converted", "is_conversion", "conv"),
    "conversion_id": ("conversion_id", "order_id", "orderid", "transaction_id"),
    "value": (
        "value", "revenue", "conversion_value", "purchase_revenue", "order_value", "amount",
    ),
    "currency": ("currency", "currency_code"),
    "medium": ("medium", "utm_medium"),
    "campaign": ("campaign", "utm_campaign"),
    "term": ("term", "utm_term"),
    "content": ("content", "utm_content"),
}  # fmt: skip
"""Names by which a column is recognised, the likeliest first."""

GA4: Mapping[str, str] = {
    "user": "user_pseudo_id",
    "time": "event_timestamp",
    "channel": (
        "session_traffic_source_last_click.manual_campaign.source"
        "|collected_traffic_source.manual_source|event_params.source"
    ),
    "event": "event_name",
    "id": ("user_pseudo_id+event_timestamp+event_name+event_bundle_sequence_id+batch_event_index"),
    "conversion_id": "ecommerce.transaction_id|event_params.transaction_id",
    "value": "ecommerce.purchase_revenue|event_params.value",
    "currency": "event_params.currency",
    "medium": (
        "session_traffic_source_last_click.manual_campaign.medium"
        "|collected_traffic_source.manual_medium|event_params.medium"
    ),
    "campaign": (
        "session_traffic_source_last_click.manual_campaign.campaign_name"
        "|collected_traffic_source.manual_campaign_name|event_params.campaign"
    ),
}
"""The columns of GA4's export to BigQuery. Its traffic_source is of the user's first visit, so it
is no channel of an event."""

_GA4_SIGNS = {"event_timestamp", "event_name", "user_pseudo_id", "event_params"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One or several columns that a field is read from.

    places: each a path of keys, the first of them a column. joins: all of them make the value;
    otherwise the first that holds something does.
    """

    text: str
    places: tuple[tuple[str, ...], ...]
    joins: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The column of each field that has one, and how that is told to the user."""

    columns: Mapping[str, Column]
    recognised: tuple[str, ...]
    shape: str = ""

    def told(self) -> str:
        """Return one line that says which column stands for what."""
        pairs = [f"{field} = {column.text}" for field, column in self.columns.items()]
        shape = f"{self.shape}: " if self.shape else ""
        return shape + ", ".join(pairs)


def parse_columns(text: str | None) -> dict[str, str]:
    """Return the columns that --columns states by field; InputError if it cannot be read."""
    stated: dict[str, str] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        field, mark, column = (piece.strip() for piece in part.partition("="))
        if not mark or not column:
            raise InputError(
                f"--columns has {shown(part.strip())}; write FIELD=COLUMN, such as user=visitor_id"
            )
        if field not in FIELDS:
            raise InputError(
                f"--columns names the field {shown(field)}; known are {', '.join(FIELDS)}"
            )
        if field in stated:
            raise InputError(f"--columns names {field} twice; name it once")
        stated[field] = column
    return stated


def map_columns(
    file: Path, names: Sequence[str], stated: Mapping[str, str], *, is_nested: bool
) -> Columns:
    """Return which of the columns *names* stands for each field.

    *stated* comes first; a field that it leaves out is recognised by its name. is_nested: a path
    such as a.b leads into an object, or to a parameter's value in a list of keys and values.
    Raise InputError if a stated column is not there, or a required field has none.
    """
    shape = _GA4_SIGNS.issubset(names) and is_nested
    folded: dict[str, str] = {}
    for name in names:
        folded.setdefault(name.strip().strip('"').casefold(), name)
    columns: dict[str, Column] = {}
    recognised = []
    for field in FIELDS:
        if field in stated:
            columns[field] = _stated(file, field, stated[field], names, is_nested=is_nested)
        elif shape and field in GA4:
            columns[field] = _known_parts(GA4[field], names)
            recognised.append(field)
        elif not shape and (found := next((n for n in _NAMES[field] if n in folded), None)):
            if any(column.text == folded[found] for column in columns.values()):
                continue
            columns[field] = Column(text=folded[found], places=((folded[found],),))
            recognised.append(field)
    for field in REQUIRED:
        if field not in columns:
            shown_names = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            raise InputError(
                f"{file}: no column is recognised as the {field}; its columns are {shown_names}: "
                f"say --columns {field}=COLUMN"
            )
    return Columns(
        columns=columns,
        recognised=tuple(recognised),
        shape="GA4's export to BigQuery" if shape else "",
    )


def _known_parts(text: str, names: Sequence[str]) -> Column:
    """Return the parts of a shape's column that the file has; older exports lack some."""
    joins = "+" in text
    parts = [part.split(".") for part in text.split("+" if joins else "|")]
    known = [tuple(part) for part in parts if part[0] in names]
    return Column(
        text=("+" if joins else "|").join(".".join(part) for part in known),
        places=tuple(known),
        joins=joins,
    )


def _stated(file: Path, field: str, text: str, names: Sequence[str], *, is_nested: bool) -> Column:
    if text in names:
        return Column(text=text, places=((text,),))
    joins = "+" in text
    places = []
    for part in text.split("+" if joins else "|"):
        path = tuple(part.split(".")) if is_nested and part not in names else (part,)
        if path[0] not in names and part.isascii() and part.isdecimal():
            if not 1 <= int(part) <= len(names):
                raise InputError(
                    f"--columns {field}={text}: {file} has {count_of(len(names), 'column')}; "
                    "give a number "
                    f"from 1 to {len(names)}, or a name"
                )
            path = (names[int(part) - 1],)
        if path[0] not in names:
            shown_names = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            raise InputError(
                f"--columns {field}={text}: {file} has no column {path[0]}; it has {shown_names}"
            )
        places.append(path)
    return Column(text=text, places=tuple(places), joins=joins)
