"""Claims about files of paths as other tools write them: joiners, wrappings, marks of absence."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from core.attribution import table
from core.attribution.account import account_of
from core.attribution.names import is_absent, is_direct
from core.attribution.parameters import Parameters
from core.attribution.path_columns import Columns
from core.attribution.path_file import read_paths
from core.attribution.paths import Paths
from core.errors import InputError
from core.packed import zstd

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
def test_another_joiner_is_recognised_and_said(tmp_path: Path, joiner: str) -> None:
    rows = [
        f'"{joiner.join(path)}",{count}' for path, count in zip(READ, (30, 20, 10), strict=True)
    ]
    file = written(tmp_path, "\n".join(["path,total_conversions", *rows, ""]))
    paths, notes = read_paths(file)
    assert walked(paths) == READ
    assert f"channels are joined by {joiner.strip()!r}, as {file}:2: path" in notes[0]
    assert "--joiner says otherwise" in notes[0]
    assert walked(read_paths(file, joiner=joiner)[0]) == READ
    whole, _ = read_paths(file, joiner=">")
    assert [len(path) for path in walked(whole)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("row", "joiner"), [("email | social", "|"), ("email → social", "→"), ("email;social", ";")]
)
def test_a_joiner_beside_the_plain_one_is_recognised_and_said(
    tmp_path: Path, row: str, joiner: str
) -> None:
    file = written(tmp_path, f"{PLAIN}search > {row},5,0,0\n")
    paths, notes = read_paths(file)
    assert walked(paths) == [*READ, ["search", "email", "social"]]
    assert notes == [f"{file}: channels are joined by '>' and by {joiner!r}; "
                     "--joiner '>' says otherwise"]  # fmt: skip
    paths, _ = read_paths(file, joiner=">")
    assert row in paths.channels


def test_name_that_could_be_a_path_is_refused_where_names_hold_such_joiners(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match=r"paths.csv:5: .* seems to be joined by '/', other"):
        read_paths(written(tmp_path, f"{PLAIN}email / social > search,5,0,0\n"))


def test_two_possible_joiners_are_refused(tmp_path: Path) -> None:
    rows = "a|b;c,1\nb;c,1\nc|a,1\na,1\n"
    with pytest.raises(InputError, match=r"may be joined by '\|' or by ';'; give the one"):
        read_paths(written(tmp_path, f"path,total_conversions\n{rows}"))


def test_unspaced_arrows_beside_the_plain_joiner_are_read_where_the_name_is_known(
    tmp_path: Path,
) -> None:
    file = written(tmp_path, f"{PLAIN}email->search,5,0,0\n")
    paths, notes = read_paths(file)
    assert walked(paths) == [*READ, ["email", "search"]]
    assert notes[0].endswith("channels are joined by '->' and by '>'")
    paths, _ = read_paths(file, joiner=">")
    assert "email-" in paths.channels
    with pytest.raises(InputError, match=r"'x->search' is joined by '->', other paths by '>'"):
        read_paths(written(tmp_path, f"{PLAIN}x->search,5,0,0\n"))


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


def test_zstd_is_read_or_refused_with_the_package_that_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = zstd()
    if library is None:
        pytest.skip("backports.zstd is not installed: pip install 'edgeproof[formats]'")
    file = written(tmp_path, library.compress(PLAIN.encode()))
    assert walked(read_paths(file)[0]) == READ
    with pytest.raises(InputError, match="is compressed and damaged"):
        read_paths(written(tmp_path, library.compress(PLAIN.encode())[:-6]))
    monkeypatch.setattr(table, "zstd", lambda: None)
    with pytest.raises(InputError, match=r"compressed with zstd, .*edgeproof\[formats\]"):
        read_paths(file)


def test_lines_before_the_header_are_passed_over_and_said(tmp_path: Path) -> None:
    before = "# ------\n# Top paths\n# 20260101-20260131\n\nAll users,,\n"
    paths, notes = read_paths(written(tmp_path, before + PLAIN))
    assert walked(paths) == READ
    assert notes[0].endswith("the header stands in line 6; 4 lines before it are passed over")
    with pytest.raises(InputError, match=r"paths.csv:8: total_conversions is 'x'"):
        read_paths(written(tmp_path, before + PLAIN.replace(",20,", ",x,")))


FOREIGN: dict[str, tuple[bytes, str]] = {
    "workbook": (b"\xd0\xcf\x11\xe0" + bytes(60), "is a workbook"),
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


FRACTRIBUTION = (
    "transformedPath,conversions,nonConversions,revenue\n"
    "email > search,30,100,300\nsearch,20,80,200\n"
)
MAM = (
    "journey,conversion,occurrences,revenue\n"
    "search > social,True,150,300\nemail > direct,False,430,0\n"
)


def test_columns_of_other_tools_are_recognised_and_said(tmp_path: Path) -> None:
    paths, notes = read_paths(written(tmp_path, FRACTRIBUTION))
    assert walked(paths) == [["email", "search"], ["search"]]
    assert paths.conversions.tolist() == [30, 20]
    assert (paths.nulls.tolist(), paths.values.tolist()) == ([100, 80], [300, 200])
    assert notes[0].endswith(
        "takes the column 'transformedPath' as path, 'conversions' as total_conversions, 'revenue'"
        " as total_conversion_value, 'nonConversions' as total_null; --path-column and its like say"
        " otherwise"
    )


@pytest.mark.parametrize(
    ("name", "flags"),
    [("conversion", ("True", "False")), ("converted", ("1", "0")), ("total_conversions",
     ("yes", "no")), ("is_conversion", ("TRUE", "0"))],
)  # fmt: skip
def test_flag_and_count_say_the_same_as_conversions_and_nulls(
    tmp_path: Path, name: str, flags: tuple[str, str]
) -> None:
    text = MAM.replace(",conversion,", f",{name},")
    text = text.replace("True", flags[0]).replace("False", flags[1])
    stated = Columns(count="occurrences") if name == "total_conversions" else None
    paths, notes = read_paths(written(tmp_path, text), columns=stated)
    assert (paths.conversions.tolist(), paths.nulls.tolist()) == ([150, 0], [0, 430])
    assert paths.values.tolist() == [300, 0]
    said = f"{name!r} says of a row whether it converted; 'occurrences' counts its journeys"
    assert any(note.endswith(said) for note in notes)


def test_flag_without_a_count_is_one_journey_a_row(tmp_path: Path) -> None:
    text = "path,converted,value\na > b,1,9.5\na,0,0\na > b,0,0\n"
    paths, notes = read_paths(written(tmp_path, text))
    assert (paths.conversions.tolist(), paths.nulls.tolist()) == ([1, 0, 0], [0, 1, 1])
    assert any("each is one journey" in note for note in notes)
    # Numbers that are no flag are numbers, whatever the column's name.
    paths, _ = read_paths(written(tmp_path, text.replace("b,1,", "b,3,")))
    assert (paths.conversions.tolist(), paths.nulls.tolist()) == ([3, 0, 0], [0, 0, 0])


def test_rows_that_neither_convert_nor_fail_are_said(tmp_path: Path) -> None:
    _, notes = read_paths(written(tmp_path, "path,total_conversions\na,1\nb,0\n"))
    assert any("1 row with 0 conversions and no column of nulls" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "columns", "said"),
    [
        ("path,conversion,total_null\na,True,3\n", Columns(), "is a flag, and total_null counts"),
        ("path,conversion\na,True\na,7\n", Columns(), "is a flag, in other rows a number"),
        ("path,conversions,revenue,value\na,1,2,3\n", Columns(),
         "columns revenue and value may each be total_conversion_value; name one with "
         "--value-column"),
        ("source_path,medium_path,conversions\na,b,3\n", Columns(),
         "columns source_path and medium_path may each be path; name one with --path-column"),
        ("path,conversions\na,1\n", Columns(path="route"),
         "no column 'route', which --path-column states; its columns are path, conversions"),
        ("path,conversions\na,1\n", Columns(value="euros"), "no column 'euros'"),
        ("user_pseudo_id,event_timestamp,page_path,conversion\nu,1,/,1\n", Columns(),
         "a row is one event, not a path with its conversions. Count the rows of each path (the "
         "header needs path and total_conversions, and may have total_conversion_value and "
         "total_null), or import the events (`edgeproof import events FILE --db DATABASE`)"),
        ("email > search,30,300,100\n", Columns(), "its columns are email > search, 30, 300, 100"),
        ("path,conversions,count\na,7,2\n", Columns(count="count"), "is no flag"),
        ("a > b,x\n", Columns(path="1", conversions="2"), "no row has a path in column 1"),
        ("path,conversions\na,-1\n", Columns(nulls="conversions", conversions="path"), "'a'"),
    ],
)  # fmt: skip
def test_columns_that_cannot_be_told_are_refused_with_the_remedy(
    tmp_path: Path, text: str, columns: Columns, said: str
) -> None:
    with pytest.raises(InputError) as refused:
        read_paths(written(tmp_path, text), columns=columns)
    assert said in str(refused.value)


def test_columns_are_stated_by_name_or_number(tmp_path: Path) -> None:
    text = "id,Weg,Verkäufe,ohne\n7,a > b,3,4\n"
    for columns in (
        Columns(path="Weg", conversions="Verkäufe", nulls="ohne"),
        Columns(path="weg", conversions="3", nulls="4"),
        Columns(path="2", conversions="3", nulls="4"),
    ):
        paths, _ = read_paths(written(tmp_path, text), columns=columns)
        assert walked(paths) == [["a", "b"]]
        assert (paths.conversions.tolist(), paths.nulls.tolist()) == ([3], [4])


@pytest.mark.parametrize("before", ["", "sep=;\n", "# made by hand\n"])
def test_numbered_columns_need_no_header(tmp_path: Path, before: str) -> None:
    text = f"{before}a > b;3;30\nb;1;10\n"
    columns = Columns(path="1", conversions="2", value="3")
    paths, notes = read_paths(written(tmp_path, text), columns=columns)
    assert (walked(paths), paths.values.tolist()) == ([["a", "b"], ["b"]], [30, 10])
    assert any("1 before it is passed over" in note for note in notes) == ("#" in before)
    with pytest.raises(InputError, match=f"csv:{text.count(chr(10))}: 2 is 'x'"):
        read_paths(written(tmp_path, text.replace("b;1;", "b;x;")), columns=columns)


def test_refunds_are_credited_by_every_model_that_is_linear_in_the_value(tmp_path: Path) -> None:
    text = f"{HEADER}email > search,30,-20,100\nsearch,20,200,80\nemail,5,-150,10\n"
    paths, notes = read_paths(written(tmp_path, text))
    assert any("2 rows with a negative value, -170 together" in note for note in notes)
    account = account_of(paths, Parameters(), models=["linear", "last_click", "data_driven"])
    values = {(row.model, row.channel): row.value for row in account.rows}
    assert values["linear", "email"] == -160
    assert values["linear", "search"] == 190
    assert values["last_click", "search"] == 180
    assert account.value == 30
    driven = [value for (model, _), value in values.items() if model == "data_driven"]
    assert sum(driven) == pytest.approx(30)
    # Without email there would be more value: its share of the total would mean nothing.
    rows = [row for row in account.rows if row.model == "data_driven"]
    assert [row.removal_value for row in rows] == [None, None]
    assert any("removal_value is left out" in notice for notice in account.notices)
    assert sum(row.removal_conversions or 0 for row in rows) == pytest.approx(55)


def test_negative_and_fractional_conversions_are_taken_off_and_added(tmp_path: Path) -> None:
    text = f"{HEADER}a > b,3.7,40,10\na > b,-1.2,-15,0\nb,8,0,0\n"
    paths, notes = read_paths(written(tmp_path, text))
    assert any("1 row with negative conversions, -1.2 together" in note for note in notes)
    account = account_of(paths, Parameters(), models=["linear", "data_driven"], minimum=1)
    found = {(row.model, row.channel): row.conversions for row in account.rows}
    assert found["linear", "a"] == pytest.approx(1.25)
    assert found["linear", "b"] == pytest.approx(9.25)
    assert account.attributed == pytest.approx(10.5)
    assert account.fitted is not None
    assert account.fitted.conversions == pytest.approx(11.7)


def test_value_without_a_conversion_is_shared_out_and_said(tmp_path: Path) -> None:
    paths, notes = read_paths(written(tmp_path, f"{HEADER}a > b,0,40,10\nb,8,0,0\n"))
    assert any("1 row with a value and no conversion, 40 together" in note for note in notes)
    account = account_of(paths, Parameters(), models=["linear"])
    assert {row.channel: row.value for row in account.rows} == {"a": 20, "b": 20}


def test_stated_direct_channel_is_direct_traffic(tmp_path: Path) -> None:
    file = written(tmp_path, f"{HEADER}Mail > Typed/Bookmarked,3,0,0\nMail,1,0,0\n")
    paths, notes = read_paths(file, direct=["typed/bookmarked"])
    assert any(note.endswith("'Typed/Bookmarked' is direct traffic, (direct)") for note in notes)
    assert linear(paths, direct="ignore unless all direct") == {"Mail": 4, "(direct)": 0}
    with pytest.raises(InputError, match=r"--direct-channel 'Typed': .* no channel of that name"):
        read_paths(file, direct=["Typed"])


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


LISTS: dict[str, Callable[[list[str]], str]] = {
    "Python": str,
    "tuples": lambda path: str(tuple(path)),
    "JSON": lambda path: json.dumps(path).replace('"', '""'),
    "PostgreSQL": lambda path: "{" + ",".join(path) + "}",
}


@pytest.mark.parametrize("form", LISTS)
def test_paths_that_are_lists_are_read_and_said(tmp_path: Path, form: str) -> None:
    rows = [f'"{LISTS[form](path)}",{n}\n' for path, n in zip(READ, (30, 20, 10), strict=True)]
    file = written(tmp_path, f"path,total_conversions\n{''.join(rows)}")
    paths, notes = read_paths(file)
    assert walked(paths) == READ
    assert notes[0].startswith(f"{file}: paths are lists of channels, such as ")


@pytest.mark.parametrize("name", ["(direct)", "(not provided)", "[brand]", "{campaign: x}"])
def test_a_name_in_brackets_is_no_list(tmp_path: Path, name: str) -> None:
    paths, _ = read_paths(written(tmp_path, f"{HEADER}{name},1,0,0\n"))
    assert walked(paths) == [[name]]


@pytest.mark.parametrize("joiner", ["&gt;", " &gt; ", "-&gt;", "➡️", " ▶ ", "＞", "⇨"])
def test_arrows_of_pages_and_messages_join(tmp_path: Path, joiner: str) -> None:
    assert walked(read_paths(written(tmp_path, PLAIN.replace(" > ", joiner)))[0]) == READ


@pytest.mark.parametrize("joiner", [" <- ", " < ", "<<", " ◀ ", " &lt; "])
def test_a_joiner_from_right_to_left_is_refused_with_the_remedy(
    tmp_path: Path, joiner: str
) -> None:
    text = PLAIN.replace(" > ", joiner)
    with pytest.raises(InputError, match=r"from right to left; .*, or give --joiner '"):
        read_paths(written(tmp_path, text))
    assert walked(read_paths(written(tmp_path, text), joiner=joiner)[0]) == READ


@pytest.mark.parametrize("joiner", ["-", "_", "+", "&", " then ", " to ", "."])
def test_a_text_that_may_join_is_said_and_not_split_at(tmp_path: Path, joiner: str) -> None:
    file = written(tmp_path, PLAIN.replace(" > ", joiner))
    paths, notes = read_paths(file)
    assert [len(path) for path in walked(paths)] == [1, 1, 1]
    assert f"give --joiner '{joiner}' if that joins channels" in notes[0]
    assert walked(read_paths(file, joiner=joiner)[0]) == READ


def test_names_that_look_alike_are_said(tmp_path: Path) -> None:
    text = f"{HEADER}Email > search,9,0,0\nemail,5,0,0\ncaf\u00e9,1,0,0\ncafe\u0301,1,0,0\n"
    paths, _ = read_paths(written(tmp_path, text))
    notices = account_of(paths, Parameters(), models=["linear"]).notices
    assert ("'Email' and 'email' are channels of their own, and 1 more such; if they are one, "
            "spell them alike") in notices  # fmt: skip
    plain = account_of(read_paths(written(tmp_path, PLAIN))[0], Parameters(), models=["linear"])
    assert not any("of their own" in notice for notice in plain.notices)


def test_rows_of_blank_cells_are_passed_over(tmp_path: Path) -> None:
    paths, notes = read_paths(written(tmp_path, PLAIN + ",,,\n , , , \n\n"))
    assert (walked(paths), notes) == (READ, [])
