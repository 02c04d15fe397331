"""Claims about the table of caches: it is complete, honest about what is missing, and exact."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import pytest
from cachetools import TLRUCache

from bench import caches, turns
from bench.caches import Sizes, absence, main, measure, notes, table
from bench.halves import Speeds
from bench.importing import import_fault
from bench.peers import LIBRARIES, LRU, YARDSTICK, Library, Pace
from bench.replays import RATE, TTLS, Accesses, hit_ratio, recorded, synthetic
from core.caching.memory import MemoryCache

TINY = Sizes(entries=60, rounds=2, held=200)
TLRU = next(library for library in LIBRARIES if library.distribution == "cachetools")
TRACE = synthetic(keys=300, accesses=6_000)


def test_table_has_a_row_for_each_library_and_every_figure_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(caches, "entry_bytes", lambda *_: 1.0)  # a process each
    rows = measure(synthetic(keys=100, accesses=400), TINY, Speeds())
    assert [row.name for row in rows] == [library.name for library in LIBRARIES]
    ours = next(row for row in rows if row.name == LRU.name)
    assert list(ours.nanoseconds) == ["hit", "miss", "overwrite", "insert+evict"]
    for figures in (*ours.nanoseconds.values(), *ours.ratios.values()):
        assert len(figures) == TINY.rounds
        assert min(figures) > 0
    best = rows[0].hit_ratio
    assert best is not None
    for row in rows:
        assert row.hit_ratio is None or 0 < row.hit_ratio <= best
    plain, marked = table(rows), table(rows, markdown=True)
    assert len({len(line) for line in plain}) == 1  # aligned
    assert len(marked) == len(plain) + 1
    assert {line.count("|") for line in marked} == {len(marked[0].split("|")) - 1}


def test_library_that_is_not_installed_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peers = {library.distribution for library in LIBRARIES if library.distribution}
    monkeypatch.setattr(
        caches, "absence", lambda library: "not installed" if library.distribution else ""
    )
    rows = measure(synthetic(keys=100, accesses=400), TINY, Speeds())
    lines = table(rows)
    assert sum(": not installed" in line for line in lines) == len(peers)
    assert len(lines) == len(rows) + 1
    assert "cachebox.VTTLCache: not installed" in "\n".join(lines)
    said = notes(rows, TRACE, TINY, 0.0)
    assert sum("pip install 'edgeproof[peers]'" in line for line in said) == len(peers)


def test_library_whose_import_fails_is_told_from_one_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name, content in (("needs_it", "import matplotlib_of_none"), ("torn", "1 / 0")):
        (tmp_path / f"{name}.py").write_text(content)
    assert import_fault("absent_of_all") == "not installed"
    assert import_fault("needs_it") == (
        "installed, but its import fails: No module named 'matplotlib_of_none'; install "
        "matplotlib_of_none, too"
    )
    assert import_fault("torn").startswith("installed, but its import fails: ZeroDivisionError")
    assert (absence(TLRU), absence(LRU)) == ("", "")
    monkeypatch.setattr(
        caches, "absence", lambda library: import_fault("needs_it") if library.distribution else ""
    )
    rows = measure(synthetic(keys=100, accesses=400), TINY, Speeds())
    assert "cachebox.VTTLCache: import fails" in "\n".join(table(rows))
    assert "moka_py: installed, but its import fails: No module named" in "\n".join(
        notes(rows, TRACE, TINY, 0.0)
    )


def test_hit_ratio_is_exactly_that_of_cachetools_while_nothing_expires() -> None:
    lasting = Accesses(
        pairs=tuple((key, 10**6) for key, _ in TRACE.pairs),
        capacity=TRACE.capacity,
        description="",
    )
    assert hit_ratio(LRU, lasting) == hit_ratio(TLRU, lasting)


def test_each_hit_is_one_of_cachetools_once_the_expired_are_shed_as_it_does() -> None:
    # It sheds them before it evicts; MemoryCache keeps them until they are asked for or reach the
    # cold end. There is no other difference.
    now = 0.0
    cache = MemoryCache(max_entries=TRACE.capacity, max_bytes=10**9)
    oracle: TLRUCache[str, float] = TLRUCache(
        TRACE.capacity, ttu=lambda _, ttl, time: time + ttl, timer=lambda: now
    )
    hits = 0
    for number, (key, ttl) in enumerate(TRACE.pairs):
        now = float(number)  # so slow that much expires before it is evicted
        for dead, _ in oracle.expire(now):
            assert cache.delete(dead)
        is_hit = cache.get(key, now) is not None
        assert is_hit == (oracle.get(key) is not None)
        hits += is_hit
        if not is_hit:
            cache.set(key, key, expires=now + ttl, size=0)
            oracle[key] = ttl
    assert cache.statistics.evicted > 1_000
    assert cache.statistics.invalidated > 100  # here: expired
    assert hits > 1_000


def test_hit_ratio_is_exactly_that_of_a_plain_lru_that_expires_when_asked() -> None:
    entries: OrderedDict[str, float] = OrderedDict()
    hits = []
    for number, (key, ttl) in enumerate(TRACE.pairs):
        now = number / RATE
        expires = entries.pop(key, 0.0)
        hits.append(expires > now)
        entries[key] = expires if hits[-1] else now + ttl
        if len(entries) > TRACE.capacity:
            entries.popitem(last=False)
    warm = hits[len(hits) // 2 :]
    assert hit_ratio(LRU, TRACE) == sum(warm) / len(warm)


def test_unbounded_hit_ratio_is_the_most_that_the_ttls_allow() -> None:
    expiries: dict[str, float] = {}
    hits = []
    for number, (key, ttl) in enumerate(TRACE.pairs):
        hits.append(expiries.get(key, -1.0) > number / RATE)
        if not hits[-1]:
            expiries[key] = number / RATE + ttl
    warm = hits[len(hits) // 2 :]
    assert hit_ratio(YARDSTICK, TRACE) == sum(warm) / len(warm) > hit_ratio(LRU, TRACE)


def test_synthetic_trace_is_the_same_each_time_and_mixes_its_ttls() -> None:
    again = synthetic(keys=300, accesses=6_000)
    assert again == TRACE
    assert TRACE.capacity == 15
    ttls = [ttl for _, ttl in TRACE.pairs]
    assert all(ttls.count(ttl) > 1_000 for ttl in TTLS)
    assert len(dict(TRACE.pairs)) == len(set(TRACE.pairs))  # a key has one TTL


def test_recorded_trace_has_a_ttl_for_each_type(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("key,type\na,user\nb,site\na,user\nc,cart\na,site\n", encoding="utf-8")
    accesses = recorded(path)
    assert [ttl for _, ttl in accesses.pairs] == [30.0, 300.0, 30.0, 3600.0, 300.0]
    assert accesses.pairs[0] == accesses.pairs[2]
    assert accesses.capacity == 1
    assert "4 real keys" in accesses.description
    assert "TTLs assigned by type, times at a constant rate" in accesses.description


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("absent.csv", None, "absent.csv"),
        ("bad.csv", "time\n1\n", "bad.csv line 1"),
        ("what.bin", "x", "what.bin"),
    ],
)
def test_bad_trace_is_refused_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None, message: str
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text, encoding="utf-8")
    assert main(["--trace", str(path)]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.count("\n") == 1
    assert error.startswith("python -m bench.caches: ")
    assert message in error


def test_json_that_cannot_be_written_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--json", str(tmp_path / "nowhere" / "x.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_command_prints_the_table_and_writes_every_round(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "LIBRARIES", (YARDSTICK, LRU))
    trace, out = tmp_path / "t.csv", tmp_path / "caches.json"
    trace.write_text("key\n" + "a\nb\na\n" * 50, encoding="utf-8")
    sizes = ["--entries", "50", "--rounds", "3", "--held", "100"]
    assert main(["--trace", str(trace), "--json", str(out), "--markdown", *sizes]) == 0
    printed = capsys.readouterr().out
    assert "| library | hit ns | × |" in printed  # a line on the machine's speed may stand above
    assert "TTLs assigned by key" in printed
    assert "in turns with cachetools.TLRUCache itself" in printed
    record = json.loads(out.read_text(encoding="utf-8"))
    assert [row["name"] for row in record["rows"]] == [YARDSTICK.name, LRU.name]
    assert len(record["rows"][1]["ratios"]["insert+evict"]) == 3


class Scripted:
    """A cache that notes what it is asked; *clock* moves by *seconds* for each key."""

    def __init__(self, clock: list[float], seconds: float) -> None:
        self.clock, self.seconds = clock, seconds
        self.asked: list[str] = []

    def read(self, keys: Sequence[str]) -> None:
        self.asked += keys
        self.clock[0] += self.seconds * len(keys)

    write = read

    def replay(self, accesses: Sequence[tuple[str, float]], pace: Pace) -> list[bool]:
        raise NotImplementedError

    def close(self) -> None:
        self.clock[0] += 1.0


def test_caches_beside_each_other_are_asked_the_same_and_told_apart_by_their_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    made: dict[str, list[Scripted]] = {"ours": [], "theirs": []}

    def library(name: str, seconds: float) -> Library:
        def opened(_: int, __: object) -> Scripted:
            made[name].append(Scripted(clock, seconds))
            return made[name][-1]

        return Library(name=name, open=opened)

    monkeypatch.setattr(turns, "process_time", lambda: clock[0])
    ours, theirs = library("ours", 1.0), library("theirs", 8.0)
    found = turns.beside(ours, theirs, entries=1_500, rounds=2)
    assert found == {"hit": (0.125, 0.125), "insert+evict": (0.125, 0.125)}
    for one, other in zip(made["ours"], made["theirs"], strict=True):
        assert one.asked == other.asked
    held, full = made["ours"]
    assert {*held.asked} == {*held.asked[:1_500]}  # all hits
    assert len({*full.asked}) == len(full.asked) == 1_500 * (1 + 2 * 2)  # all new
