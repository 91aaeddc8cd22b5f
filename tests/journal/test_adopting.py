"""Changing the home's prices: one event a change, files before it, and no change of another process undone."""

from __future__ import annotations

import errno
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from keledger.journal import (
    Adoption,
    AppendRefused,
    Home,
    HomeError,
    InputRefused,
    KeledgerError,
    Ledger,
    UsageError,
    current_prices,
    replaced_layer,
    verify,
)
from keledger.journal import _adopting as adopting
from keledger.journal._disk import Disk
from keledger.journal.prices import (
    BookManifest,
    Cell,
    LayerHeader,
    LayerReference,
    shipped_manifest,
    write_layer,
)

from .support import call, calls, events, tree_bytes

USAGE = {"input_uncached": 1_000_000}


def layer(price: str = "7", kind: str = "user", name: str = "mine", date: str = "2026-11-21") -> bytes:
    return write_layer(
        LayerHeader(kind, name, "a test", date), [Cell("openai", "gpt-5-mini", "", {"input_uncached": price})]
    )


def set_price(ledger: Ledger, price: str) -> str | None:
    manifest = ledger.manifest()
    adoption = replaced_layer(manifest, "user", layer(price), "mine")
    return ledger.adopt_prices(adoption, f"it is {price} now", based_on=manifest.sha256)


def adopted(home: Home) -> list[dict[str, Any]]:
    return [event["data"] for event in events(home) if event["type"] == "prices.adopted"]


def total(ledger: Ledger, home: Home) -> str:
    event_id = ledger.record(**call(usage_raw=None, usage=USAGE))
    (event,) = [event for event in calls(home) if event["id"] == event_id]
    return str(event["data"]["cost"]["total_usd"])


def test_a_new_home_adopts_the_shipped_list_first_and_then_the_change(ledger: Ledger, home: Home) -> None:
    assert ledger.manifest() == shipped_manifest()
    assert not home.path.exists()
    event_id = set_price(ledger, "7")
    first, second = adopted(home)
    assert (first["book"], first["reason"]) == (shipped_manifest().sha256, "the list that comes with the program")
    assert second["reason"] == "it is 7 now"
    assert [each["kind"] for each in second["layers"]] == ["user", "list", "list"]
    assert events(home)[-1]["id"] == event_id
    assert ledger.manifest().sha256 == second["book"]
    assert total(ledger, home) == "7"
    assert not verify(home).damaged


def test_the_ledger_that_changed_prices_prices_its_next_call_by_them(ledger: Ledger, home: Home) -> None:
    assert total(ledger, home) == "0.25"
    set_price(ledger, "7")
    assert total(ledger, home) == "7"
    set_price(ledger, "8")
    assert total(ledger, home) == "8"


def test_the_very_same_book_is_adopted_once(ledger: Ledger, home: Home) -> None:
    set_price(ledger, "7")
    before = tree_bytes(home.path)
    assert set_price(ledger, "7") is None
    assert tree_bytes(home.path) == before


def test_a_change_based_on_other_prices_than_the_homes_is_refused(ledger: Ledger, home: Home) -> None:
    set_price(ledger, "7")
    manifest = ledger.manifest()
    with Ledger.open(home.path) as other:
        set_price(other, "8")
    before = tree_bytes(home.path)
    adoption = replaced_layer(manifest, "user", layer("9"), "mine")
    for based_on in (manifest.sha256, None, "0" * 64):
        with pytest.raises(KeledgerError, match="changed by another process meanwhile: nothing was adopted"):
            ledger.adopt_prices(adoption, "late", based_on=based_on)
        assert tree_bytes(home.path) == before


def test_the_same_change_of_two_processes_is_made_once(ledger: Ledger, home: Home) -> None:
    """Whoever comes second finds done what was asked for."""
    manifest = ledger.manifest()
    adoption = replaced_layer(manifest, "user", layer("8"), "mine")
    with Ledger.open(home.path) as other:
        assert other.adopt_prices(adoption, "first", based_on=manifest.sha256) is not None
    assert ledger.adopt_prices(adoption, "second", based_on=manifest.sha256) is None


SETTING = """
import sys
from keledger.journal import KeledgerError, Ledger, replaced_layer
from tests.journal.test_adopting import layer

name = sys.argv[2]
with Ledger.open(sys.argv[1]) as ledger:
    while True:
        manifest = ledger.manifest()
        adoption = replaced_layer(manifest, "imported", layer("1", "imported", name), name)
        try:
            ledger.adopt_prices(adoption, name, based_on=manifest.sha256)
            break
        except KeledgerError as error:
            assert "meanwhile" in str(error), error
"""


def test_processes_that_change_prices_at_once_lose_nothing(home: Home) -> None:
    names = [f"list{number}" for number in range(4)]
    processes = [subprocess.Popen([sys.executable, "-c", SETTING, str(home.path), name]) for name in names]
    assert [process.wait(timeout=60) for process in processes] == [0] * len(names)
    books = adopted(home)
    assert [len(book["layers"]) for book in books] == [2, 3, 4, 5, 6]
    assert sorted(each["name"] for each in books[-1]["layers"][:4]) == names
    assert not verify(home).damaged


def test_prices_that_another_process_has_set_are_not_undone_by_a_first_call(home: Home) -> None:
    """The first call of a process plans the shipped list; until it is appended another may have set prices."""
    with Ledger.open(home.path) as late, Ledger.open(home.path) as other:
        event = late.event_of(call(usage_raw=None, usage=USAGE))  # the shipped list is planned with it
        set_price(other, "7")
        late.append_events([event])
        assert calls(home)[-1]["data"]["cost"]["total_usd"] == "0.25"
        assert [each["reason"] for each in adopted(home)][-1] == "it is 7 now"
        assert total(late, home) == "7"
        assert not verify(home).damaged


def test_a_call_priced_by_a_newer_list_finds_its_book_beside_what_another_release_has_set(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of the newer release comes below the user's prices, as if they had been there before."""
    shipped = shipped_manifest()
    older = LayerReference("list", "old list", hashlib.sha256(layer("3", "list", "old list")).hexdigest(), "2025-01-01")
    old = BookManifest((older,), shipped.names)
    with Ledger.open(home.path) as late:
        event = late.event_of(call(usage_raw=None, usage=USAGE))
        with monkeypatch.context() as patched, Ledger.open(home.path) as other:
            names = adopting.shipped_book()[1][shipped.names]
            files = {shipped.names: names, older.sha256: layer("3", "list", "old list"), old.sha256: old.content}
            patched.setattr(adopting, "shipped_manifest", lambda: old)
            patched.setattr(adopting, "shipped_book", lambda: (old.content, files))
            set_price(other, "7")
        late.append_events([event])
        assert [[each["name"] for each in book["layers"]] for book in adopted(home)] == [
            ["old list"],
            ["mine", "old list"],
            ["mine", *(each.name for each in shipped.layers)],
        ]
        assert total(late, home) == "7"
    assert calls(home)[0]["data"]["cost"]["book"] == shipped.sha256
    assert not verify(home).damaged


def upgraded(monkeypatch: pytest.MonkeyPatch, *lists: tuple[str, str, list[Cell]]) -> None:
    """Let the program come with these lists (name, date, cells), strongest first."""
    shipped, (_, files) = shipped_manifest(), adopting.shipped_book()
    contents = [write_layer(LayerHeader("list", name, "a test", date), cells) for name, date, cells in lists]
    layers = [
        LayerReference("list", name, hashlib.sha256(content).hexdigest(), date)
        for (name, date, _), content in zip(lists, contents, strict=True)
    ]
    manifest = BookManifest(tuple(layers), shipped.names)
    by_sha256 = {each.sha256: content for each, content in zip(layers, contents, strict=True)}
    held = {**by_sha256, shipped.names: files[shipped.names]}
    monkeypatch.setattr(adopting, "shipped_manifest", lambda: manifest)
    monkeypatch.setattr(adopting, "shipped_book", lambda: (manifest.content, held))


def test_newer_corrections_do_not_bring_an_older_list_back(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    mini, nano = (Cell("openai", f"gpt-5-{size}", "", {"input_uncached": "9"}) for size in ("mini", "nano"))
    with monkeypatch.context() as patched, Ledger.open(home.path) as ledger:
        upgraded(
            patched, ("corrections 2026-11-21", "2026-11-21", [nano]), ("genai-prices 0.2.9", "2026-12-20", [mini])
        )
        ledger.record(**call())
    with monkeypatch.context() as patched, Ledger.open(home.path) as ledger:
        upgraded(patched, ("corrections 2027-01-01", "2027-01-01", [nano]), ("genai-prices 0.2.5", "2026-12-01", []))
        ledger.record(**call())
    assert [[each["name"] for each in book["layers"]] for book in adopted(home)] == [
        ["corrections 2026-11-21", "genai-prices 0.2.9"],
        ["corrections 2027-01-01", "genai-prices 0.2.9"],
    ]
    assert not verify(home).damaged


def test_what_a_newer_list_dropped_is_carried_over(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    mini, nano = (Cell("openai", f"gpt-5-{size}", "", {"input_uncached": "9"}) for size in ("mini", "nano"))
    with monkeypatch.context() as patched, Ledger.open(home.path) as ledger:
        upgraded(patched, ("genai-prices 0.2.4", "2026-12-20", [mini, nano]))
        ledger.record(**call())
    with monkeypatch.context() as patched, Ledger.open(home.path) as ledger:
        upgraded(patched, ("genai-prices 0.2.5", "2026-12-21", [mini]))
        ledger.record(**call(model="gpt-5-nano", usage_raw=None, usage=USAGE))
    assert [book["layers"][0]["name"] for book in adopted(home)] == ["genai-prices 0.2.4", "genai-prices 0.2.5"]
    assert calls(home)[-1]["data"]["cost"]["total_usd"] == "9"
    assert not verify(home).damaged


def test_a_home_that_is_removed_takes_the_prices_along(ledger: Ledger, home: Home) -> None:
    set_price(ledger, "7")
    assert total(ledger, home) == "7"
    shutil.rmtree(home.path)
    assert total(ledger, home) == "7"
    assert total(ledger, home) == "7"
    assert [each["reason"] for each in adopted(home)] == ["the prices that were in use when the home was removed"]
    assert not verify(home).damaged


def test_no_event_names_what_could_not_be_written(home: Home) -> None:
    class Full(Disk):
        full = False

        def replace(self, source: Path, target: Path) -> None:
            if self.full and target.parent == home.prices:
                raise OSError(errno.ENOSPC, "No space left on device")
            super().replace(source, target)

    with Ledger(home, program="test", disk=(disk := Full())) as ledger:
        ledger.record(**call())
        disk.full = True
        before = tree_bytes(home.journal)
        with pytest.raises(HomeError, match="No space left"):
            set_price(ledger, "7")
        assert tree_bytes(home.journal) == before
        disk.full = False
        set_price(ledger, "7")
        assert total(ledger, home) == "7"
    assert not verify(home).damaged


@pytest.mark.parametrize("reason", ["", "  ", "x" * 5000, "\ud800"])
def test_without_a_reason_nothing_is_adopted(ledger: Ledger, home: Home, reason: str) -> None:
    adoption = replaced_layer(ledger.manifest(), "user", layer(), "mine")
    with pytest.raises(InputRefused, match="reason"):
        ledger.adopt_prices(adoption, reason, based_on=None)
    assert not home.path.exists()


def wrong_books() -> dict[str, tuple[tuple[str, ...], dict[str, bytes], str]]:
    """Layers by kind, files that replace the true ones, and what is said."""
    mine, bad = layer(), layer().replace(b'"7"', b'"-7"')
    return {
        "two of the user": (("user", "user", "list"), {}, "at most one of the user"),
        "a list above": (("list", "user"), {}, "stronger ones first"),
        "another content": (("user", "list"), {hashlib.sha256(mine).hexdigest(): bad}, "does not fit its name"),
    }


@pytest.mark.parametrize("case", wrong_books())
def test_a_book_that_breaks_the_rules_is_not_adopted(ledger: Ledger, home: Home, case: str) -> None:
    kinds, wrong, said = wrong_books()[case]
    contents = [layer(kind=kind) for kind in kinds]
    layers = [
        LayerReference(kind, "mine", hashlib.sha256(content).hexdigest(), "2026-11-21")
        for kind, content in zip(kinds, contents, strict=True)
    ]
    book = BookManifest(tuple(layers), shipped_manifest().names)
    files = {each.sha256: content for each, content in zip(layers, contents, strict=True)}
    with pytest.raises(UsageError, match=said):
        ledger.adopt_prices(Adoption(book, {**files, book.sha256: book.content, **wrong}), "wrong", based_on=None)
    assert not home.path.exists()


def test_a_layer_that_is_none_or_missing_is_not_adopted(ledger: Ledger, home: Home) -> None:
    manifest = ledger.manifest()
    bad = layer().replace(b'"7"', b'"-7"')
    with pytest.raises(InputRefused, match="is no price"):
        replaced_layer(manifest, "user", bad, "mine")
    with pytest.raises(UsageError, match="is of the kind user, not imported"):
        replaced_layer(manifest, "imported", layer(), "mine")
    reference = LayerReference("user", "mine", hashlib.sha256(bad).hexdigest(), "2026-11-21")
    book = BookManifest((reference, *manifest.layers), manifest.names)
    with pytest.raises(InputRefused, match="is no price"):
        ledger.adopt_prices(Adoption(book, {reference.sha256: bad, book.sha256: book.content}), "x", based_on=None)
    renamed = BookManifest((reference._replace(name="yours"), *manifest.layers), manifest.names)
    right = layer()
    renamed = BookManifest(
        (LayerReference("user", "yours", hashlib.sha256(right).hexdigest(), "2026-11-21"), *manifest.layers),
        manifest.names,
    )
    files = {renamed.layers[0].sha256: right, renamed.sha256: renamed.content}
    with pytest.raises(UsageError, match="says otherwise of itself"):
        ledger.adopt_prices(Adoption(renamed, files), "x", based_on=None)
    with pytest.raises(KeledgerError, match="is missing"):
        ledger.adopt_prices(Adoption(renamed, {renamed.sha256: renamed.content}), "x", based_on=None)
    assert not home.path.exists()


def names_of(adoption: Adoption) -> list[str]:
    return [each.name for each in adoption.manifest.layers]


def test_layers_stand_by_their_kind_and_the_newest_import_first() -> None:
    shipped = shipped_manifest()
    corrections, genai = (each.name for each in shipped.layers)
    assert (corrections.split()[0], genai.split()[0]) == ("corrections", "genai-prices")
    book = shipped
    steps: list[tuple[str, str, list[str]]] = [
        ("imported", "a", ["a", corrections, genai]),
        ("user", "mine", ["mine", "a", corrections, genai]),
        ("imported", "b", ["mine", "b", "a", corrections, genai]),
        ("imported", "a", ["mine", "a", "b", corrections, genai]),
        ("user", "yours", ["yours", "a", "b", corrections, genai]),
        ("list", "genai-prices 9.9.9", ["yours", "a", "b", corrections, "genai-prices 9.9.9"]),
        (
            "list",
            "corrections 2027-01-01",
            ["yours", "a", "b", "corrections 2027-01-01", "genai-prices 9.9.9"],
        ),
        ("list", "another", ["yours", "a", "b", "corrections 2027-01-01", "genai-prices 9.9.9", "another"]),
    ]
    for kind, name, expected in steps:
        content = layer(kind=kind, name=name)
        adoption = replaced_layer(book, kind, content, name)
        book = adoption.manifest
        assert names_of(adoption) == expected
        assert set(adoption.files) == {hashlib.sha256(content).hexdigest(), book.sha256}
        assert replaced_layer(book, kind, content, name).manifest == book or kind == "imported"
    assert names_of(replaced_layer(book, "user", None, "")) == expected[1:]
    assert names_of(replaced_layer(book, "imported", None, "b")) == [name for name in expected if name != "b"]
    assert replaced_layer(book, "imported", None, "never").manifest == book


def test_a_table_of_names_is_replaced_with_the_layer() -> None:
    shipped = shipped_manifest()
    content = layer(kind="list", name="genai-prices 9.9.9")
    adoption = replaced_layer(shipped, "list", content, "genai-prices", names=b"names")
    assert adoption.files[adoption.manifest.names] == b"names"
    assert adoption.manifest.names == hashlib.sha256(b"names").hexdigest()


def test_what_the_home_will_adopt_is_read_before_it_is_there(home: Home) -> None:
    manifest, store = current_prices(home)
    assert manifest == shipped_manifest()
    assert store.load_book(manifest.sha256).match("openai", "gpt-5-mini") is not None
    assert not home.path.exists()


def test_a_handler_in_the_middle_of_an_append_adopts_nothing(ledger: Ledger, home: Home) -> None:
    ledger.record(**call())
    with ledger._appender.locked(), pytest.raises(AppendRefused, match="in the middle of an append"):
        set_price(ledger, "7")
    assert len(adopted(home)) == 1
