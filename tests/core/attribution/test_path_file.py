"""Claims about files of paths as other tools write them: joiners, wrappings, marks of absence."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from core.attribution.account import account_of
from core.attribution.names import is_absent, is_direct
from core.attribution.parameters import Parameters
from core.attribution.path_file import read_paths
from core.attribution.paths import Paths
from core.errors import InputError

HEADER = "path,total_conversions,total_conversion_value,total_null\n"
PLAIN = HEADER + "email > search > social,30,300,100\nsearch > social,20,200,80\nemail,10,100,200\n"
READ = [["email", "search", "social"], ["search", "social"], ["email"]]


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "paths.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def walked(paths: Paths) -> list[list[str]]:
    bounds = paths.offsets.tolist()
    return [
        [paths.channels[code] for code in paths.codes[begin:end]] for begin, end in pairwise(bounds)
    ]


def linear(paths: Paths, *, direct: str = "own channel") -> dict[str, float]:
    parameters = Parameters(direct=direct)  # type: ignore[arg-type]  # one of two texts
    account = account_of(paths, parameters, models=["last_click"])
    return {row.channel: row.conversions for row in account.rows}


@pytest.mark.parametrize(
    ("joiner", "said"),
    [
        (" -> ", "'->'"), ("->", "'->'"), (" => ", "'=>'"), ("=>", "'=>'"), (" --> ", "'-->'"),
        ("-->", "'-->'"), (" –> ", "'–>'"), (" |> ", "'|>'"), (" >> ", "'>>'"), (">>", "'>>'"),
        (" → ", "'→'"), ("→", "'→'"), (" » ", "'»'"), (" ⇒ ", "'⇒'"), (" › ", "'›'"),
    ],
)  # fmt: skip
def test_an_arrow_joins_as_the_plain_joiner_does_and_is_said(
    tmp_path: Path, joiner: str, said: str
) -> None:
    paths, notes = read_paths(written(tmp_path, PLAIN.replace(" > ", joiner)))
    assert walked(paths) == READ
    assert sorted(paths.channels) == ["email", "search", "social"]
    assert [note.partition("paths.csv: ")[2] for note in notes] == [
        f"channels are joined by {said}"
    ]


def test_paths_with_the_plain_joiner_are_read_without_a_word(tmp_path: Path) -> None:
    paths, notes = read_paths(written(tmp_path, PLAIN))
    assert (walked(paths), notes) == (READ, [])


def test_two_spaced_joiners_in_one_file_are_read_and_said(tmp_path: Path) -> None:
    text = PLAIN.replace("search > social,20", "search -> social,20")
    paths, notes = read_paths(written(tmp_path, text))
    assert walked(paths) == READ
    assert notes[0].endswith("channels are joined by '->' and by '>'")


@pytest.mark.parametrize("joiner", ["|", " | ", ";", " ; ", ", ", " / ", "/", " - ", " + ", "::"])
def test_another_joiner_is_refused_by_its_name_and_read_once_it_is_given(
    tmp_path: Path, joiner: str
) -> None:
    rows = [
        f'"{joiner.join(path)}",{count}' for path, count in zip(READ, (30, 20, 10), strict=True)
    ]
    file = written(tmp_path, "\n".join(["path,total_conversions", *rows, ""]))
    with pytest.raises(InputError, match=r"paths.csv:2: path .* seems to be joined by") as refused:
        read_paths(file)
    assert repr(joiner.strip()) in str(refused.value)
    assert "--joiner" in str(refused.value)
    paths, _ = read_paths(file, joiner=joiner)
    assert walked(paths) == READ


@pytest.mark.parametrize(
    ("row", "joiner"), [("email | search", "|"), ("email → social", "→"), ("search;email", ";")]
)
def test_a_joiner_beside_the_plain_one_is_refused(tmp_path: Path, row: str, joiner: str) -> None:
    file = written(tmp_path, f"{PLAIN}{row},5,0,0\n")
    with pytest.raises(InputError, match=r"paths.csv:5: .* other paths by '>'") as refused:
        read_paths(file)
    assert repr(joiner) in str(refused.value)
    paths, _ = read_paths(file, joiner=">")
    assert row in paths.channels


def test_unspaced_arrows_beside_the_plain_joiner_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path, f"{PLAIN}email->search,5,0,0\n")
    with pytest.raises(InputError, match=r"'email->search' is joined by '->', other paths by '>'"):
        read_paths(file)
    paths, _ = read_paths(file, joiner=">")
    assert "email-" in paths.channels


def test_arrows_that_point_to_the_left_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"joined by '←', from right to left"):
        read_paths(written(tmp_path, PLAIN.replace(">", "←")))


@pytest.mark.parametrize("name", ["Paid | Search", "google / organic", "A, B", "Search - Brand"])
def test_a_name_that_holds_another_joiner_is_no_alarm_where_the_plain_one_joins(
    tmp_path: Path, name: str
) -> None:
    paths, notes = read_paths(written(tmp_path, f'{PLAIN}"{name} > email",5,0,0\n'))
    assert walked(paths)[-1] == [name, "email"]
    assert notes == []


@pytest.mark.parametrize(
    "names",
    [
        ("google / organic", "(direct) / (none)", "bing / cpc"),
        ("Search - Brand", "Search - Generic", "Search"),
        ("Paid | Search", "Email"),
    ],
)
def test_names_with_fixed_parts_stay_whole_and_a_notice_says_so(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    text = "path,total_conversions,total_conversion_value,total_null\n"
    paths, notes = read_paths(written(tmp_path, text + "".join(f"{n},9,0,0\n" for n in names)))
    assert set(paths.channels) == set(names)
    assert len(notes) == 1
    assert "no path holds '>': each is one channel" in notes[0]
    assert "--joiner" in notes[0]


def test_single_channels_need_no_joiner(tmp_path: Path) -> None:
    assert read_paths(written(tmp_path, f"{HEADER}email,1,0,0\nsearch,1,0,0\n"))[1] == []


@pytest.mark.parametrize("name", ["Total", "grand total", "ALL"])
def test_row_that_sums_up_all_others_is_refused(tmp_path: Path, name: str) -> None:
    rows = "email,1,0,0\nemail > search,2,0,0\n"
    with pytest.raises(InputError, match=f"the row '{name}' has 3 conversions, as many as all"):
        read_paths(written(tmp_path, f"{HEADER}{rows}{name},3,0,0\n"))
    # A channel of that name is one.
    paths, _ = read_paths(written(tmp_path, f"{HEADER}{rows}{name},4,0,0\n,3,0,0\n"))
    assert name in paths.channels


def test_joiner_that_no_path_holds_is_said(tmp_path: Path) -> None:
    _, notes = read_paths(written(tmp_path, PLAIN), joiner="|")
    assert notes[0].endswith("no path holds the joiner '|': each is one channel")
    with pytest.raises(InputError, match="--joiner is empty"):
        read_paths(written(tmp_path, PLAIN), joiner=" ")


def test_joiner_between_nothing_is_a_channel_without_a_name(tmp_path: Path) -> None:
    for joiner, path in ((None, "a -> -> b"), (None, "a >> > b"), ("|", "a||b")):
        with pytest.raises(InputError, match=r"paths.csv:2: path .* has a channel without a name"):
            read_paths(written(tmp_path, f"{HEADER}{path},1,0,0\n"), joiner=joiner)


@pytest.mark.parametrize("mark", ["NA", "NaN", "null", "None", "N/A", "(not set)", "\\N", "<NA>"])
def test_path_that_is_a_mark_of_absence_is_empty_and_counted(tmp_path: Path, mark: str) -> None:
    text = f"{HEADER}email > search,30,300,100\n{mark},20,200,80\nemail,10,100,200\n"
    paths, notes = read_paths(written(tmp_path, text))
    account = account_of(paths, Parameters(), models=["linear"])
    assert {row.channel: row.conversions for row in account.rows} == {"email": 25, "search": 15}
    assert (account.untouched, account.untouched_value) == (20, 200)
    assert f"path is {mark!r} in 1 row: an empty path, without a touch" in notes[0]


def test_mark_of_absence_within_a_path_is_a_touch_and_said(tmp_path: Path) -> None:
    text = f"{HEADER}NA>email,30,0,0\nNA,5,0,0\n"
    paths, _ = read_paths(written(tmp_path, text))
    assert walked(paths) == [["NA", "email"], []]
    notices = account_of(paths, Parameters(), models=["linear"]).notices
    assert "a touch of 'NA', as tools write for nothing, counts as a channel's" in notices


def test_numbers_and_paths_share_one_list_of_marks() -> None:
    assert all(map(is_absent, ("", " na ", "NULL", "(Not Set)", "#N/A")))
    assert not any(map(is_absent, ("email", "0", "nano", "(direct)", "(other)")))


WRAPPINGS: dict[str, Callable[[str], bytes]] = {
    "sep line": lambda text: f"sep=;\n{text.replace(',', ';')}".encode(),
    "quoted sep line": lambda text: f'"sep=,"\r\n{text}'.encode(),
    "another separator": lambda text: f"sep=:\n{text.replace(',', ':')}".encode(),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "bars": lambda text: text.replace(",", "|").encode(),
    "gzip": lambda text: gzip.compress(text.encode()),
    "xz": lambda text: lzma.compress(text.encode()),
    "bz2": lambda text: bz2.compress(text.encode()),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, big end first": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "UTF-16 with tabs": lambda text: text.replace(",", "\t").encode("utf-16"),
    "UTF-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "gzip of UTF-16": lambda text: gzip.compress(text.encode("utf-16")),
    "blank lines": lambda text: f"\n\r\n{text}".encode(),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_what_wraps_a_table_is_undone(tmp_path: Path, wrapping: str) -> None:
    paths, notes = read_paths(written(tmp_path, WRAPPINGS[wrapping](PLAIN)))
    assert (walked(paths), paths.values.tolist(), notes) == (READ, [300, 200, 100], [])


def test_lines_before_the_header_are_passed_over_and_said(tmp_path: Path) -> None:
    before = "# ------\n# Top paths\n# 20260101-20260131\n\nAll users,,\n"
    paths, notes = read_paths(written(tmp_path, before + PLAIN))
    assert walked(paths) == READ
    assert notes[0].endswith("the header stands in line 6; 4 lines before it are passed over")
    with pytest.raises(InputError, match=r"paths.csv:8: total_conversions is 'x'"):
        read_paths(written(tmp_path, before + PLAIN.replace(",20,", ",x,")))


FOREIGN: dict[str, tuple[bytes, str]] = {
    "workbook": (b"\xd0\xcf\x11\xe0" + bytes(60), "is a workbook"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(60), "compressed with zstd.*zstd -d"),
    "database": (b"SQLite format 3\0" + bytes(60), "is an SQLite database.*--db"),
    "binary": (b"\x7fELF\0\1\2\0\1\0\3\0\0\4\0" + bytes(3), "is binary data"),
    "JSON": (b'[{"path": "a"}]', "is JSON, not a CSV file"),
    "HTML": (b"<table><tr>", "is HTML or XML"),
    "torn gzip": (gzip.compress(PLAIN.encode())[:-12], "is compressed and damaged"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_no_table_is_refused_by_its_name(tmp_path: Path, what: str) -> None:
    content, said = FOREIGN[what]
    with pytest.raises(InputError, match=said):
        read_paths(written(tmp_path, content))


def test_zip_archive_is_refused_by_its_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "paths.csv", "w") as archive:
        archive.writestr("paths.csv", PLAIN)
    with pytest.raises(InputError, match=r"is a zip archive, as .xlsx files are"):
        read_paths(tmp_path / "paths.csv")


def test_line_without_an_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has a line of more than 1,048,576 characters"):
        read_paths(written(tmp_path, HEADER + "a" * 1_100_000))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("transformedPath,conversions,nonConversions,revenue",
         "Rename transformedPath to path, conversions to total_conversions, revenue to "
         "total_conversion_value, nonConversions to total_null"),
        ("journey,conversion,occurrences,revenue",
         "conversion is a flag of each row. Write occurrences as total_conversions where it is "
         "true and as total_null where it is false"),
        ("user_pseudo_id,event_timestamp,event_name,source,value", "a row is one event"),
        ("email > search,30,300,100", "its columns are email > search, 30, 300, 100"),
    ],
)  # fmt: skip
def test_table_of_another_shape_is_refused_with_what_it_has_and_the_remedy(
    tmp_path: Path, header: str, said: str
) -> None:
    with pytest.raises(InputError, match=r"paths.csv:1: no column path") as refused:
        read_paths(written(tmp_path, f"{header}\na,1,2,3,4\n"))
    assert said in str(refused.value)
    assert all(name in str(refused.value) for name in header.split(","))


DIRECT = ("(direct)", "Direct", "direct", "(direct) / (none)", "direct / none", "Direct Entry")


@pytest.mark.parametrize("name", DIRECT)
def test_direct_traffic_is_ignored_however_it_is_spelled(tmp_path: Path, name: str) -> None:
    text = f"{HEADER}Paid Search > {name},30,300,10\n{name},20,200,80\n"
    paths, _ = read_paths(written(tmp_path, f"{text}Email > {name} > {name},10,100,20\n"))
    assert linear(paths, direct="ignore unless all direct") == {
        "Paid Search": 30, name: 20, "Email": 10
    }  # fmt: skip
    assert linear(paths) == {name: 60, "Paid Search": 0, "Email": 0}
    ignoring = Parameters(direct="ignore unless all direct")
    notices = account_of(paths, ignoring, models=["linear"]).notices
    said = () if name == "(direct)" else (f"--direct ignore takes {name!r} as direct traffic",)
    assert notices == said
    assert account_of(paths, Parameters(), models=["linear"]).notices == ()


def test_names_that_only_begin_so_are_not_direct_traffic() -> None:
    assert not any(map(is_direct, ("directory", "Direct mail", "indirect", "direct-mail", "")))


def test_direct_rule_that_matches_nothing_is_said(tmp_path: Path) -> None:
    paths, _ = read_paths(written(tmp_path, PLAIN))
    ignoring = Parameters(direct="ignore unless all direct")
    (notice,) = account_of(paths, ignoring, models=["linear"]).notices
    assert "--direct ignore changes nothing: no channel is direct traffic" in notice


def test_two_names_of_direct_traffic_are_said(tmp_path: Path) -> None:
    paths, _ = read_paths(written(tmp_path, f"{HEADER}Direct > (direct),5,0,0\n"))
    (notice,) = account_of(paths, Parameters(), models=["linear"]).notices
    assert notice == "direct traffic has 2 names, each a channel: '(direct)', 'Direct'"


def test_own_channel_that_is_called_other_is_said_where_rare_ones_are_merged(
    tmp_path: Path,
) -> None:
    rows = "".join(f"a > {name},{count},0,5\n" for name, count in (("(other)", 9), ("b", 3)))
    paths, _ = read_paths(written(tmp_path, HEADER + rows))
    notices = account_of(paths, Parameters(), models=["data_driven"], most=1).notices
    assert any("the data's own channel of that name" in notice for notice in notices)
