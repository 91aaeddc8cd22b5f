"""Promise 6: a FIFO, a link, a folder or another owner's file, in each place of a home, is refused or harmless."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from keledger.journal import Home, HomeError, KeledgerError, Ledger, verify
from tests.journal.support import call, calls, tree_bytes
from tests.journal.test_spool import BEGIN, END

from .support import Tell, in_child

KINDS = ("fifo", "link", "folder", "file", "owner", "mode")


def places(home: Home) -> dict[str, Path]:
    """The places of a home that has one call, by name."""
    writer = home.journal / home.writers()[0]
    return {
        "home": home.path,
        "lock": home.lock,
        "writer.json": home.path / "writer.json",
        "journal": home.journal,
        "writer": writer,
        "segment": writer / "00000001.jsonl",
        "next segment": writer / "00000002.jsonl",
        "prices": home.prices,
        "price": min(home.prices.iterdir()),
        "spool": home.spool,
        "spooled": home.spool / f"{BEGIN['id']}.json",
    }


REFUSED = {
    "home": {"fifo", "link", "file", "owner", "mode"},
    "lock": {"fifo", "link", "folder", "owner"},
    "writer.json": {"fifo", "folder", "file"},
    "journal": {"fifo", "file"},
    "writer": {"fifo", "file"},
    "segment": {"fifo", "link", "folder", "owner"},
    "next segment": {"owner"},
    "prices": {"fifo", "folder", "file"},
    "price": {"fifo", "folder", "file"},
    "spool": set(),
    "spooled": set(),
}
"""Where a call cannot be recorded.  Links and modes inside of the home are its owner's own doing: nobody else can get
there.  A spool that is not as it should be is left alone."""


def put(kind: str, path: Path, aside: Path) -> None:
    """Let something else stand in a place; what stood there is moved aside, or changes its owner or mode."""
    if os.path.lexists(path):
        path.rename(aside)
    else:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.chmod(0o700)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(aside)
    elif kind == "folder":
        path.mkdir(mode=0o700)
    elif kind == "file" or not aside.exists():
        path.touch(mode=0o600)
    else:
        aside.rename(path)
    if kind == "owner":
        os.chown(path, 65534, 65534)
    elif kind == "mode":
        path.chmod(0o777)


@pytest.mark.usefixtures("quick_syncs")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", REFUSED)
def test_what_is_not_what_it_should_be_is_refused_or_harmless(
    home: Home, tmp_path: Path, place: str, kind: str
) -> None:
    """It is never waited for, written through or replaced; a refusal says in one line what stands where."""
    if kind == "owner" and os.geteuid() != 0:
        pytest.skip("only root can give a file to somebody else")
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    path, aside = places(home)[place], tmp_path / "aside"
    put(kind, path, aside)
    before, stood = tree_bytes(tmp_path), os.lstat(path)

    def try_it(tell: Tell) -> None:
        signal.alarm(20)  # whoever waits for a FIFO is killed
        problem = ""
        try:
            with Ledger.open(home.path) as ledger:
                ledger.record(**call())
        except KeledgerError as error:
            problem = str(error)
        assert not problem or (str(home.path) in problem and "\n" not in problem)
        tell("refused" if problem else "recorded")
        for look in (verify, calls):
            with contextlib.suppress(HomeError):
                look(home)

    ended = in_child(try_it)
    assert ended.status == 0
    assert ended.told == ["refused" if kind in REFUSED[place] else "recorded"]
    found = os.lstat(path)
    assert (found.st_ino, found.st_mode, found.st_uid) == (stood.st_ino, stood.st_mode, stood.st_uid)
    after = tree_bytes(tmp_path)
    kept = {name for name in before if "journal" in name or "prices" in name or name.startswith("aside")}
    assert all(after[name].startswith(before[name]) for name in kept)
    if ended.told == ["refused"]:
        assert {name: after[name] for name in kept} == {name: before[name] for name in kept}


@pytest.mark.parametrize("kind", ["fifo", "folder", "file", "link"])
def test_a_call_that_is_finished_is_kept_beside_a_home_that_is_not_one(home: Home, tmp_path: Path, kind: str) -> None:
    """A watched call is not refused: it waits in the spool until the home is what it should be."""
    ledger, spool = Ledger.open(home.path), home.spool
    put(kind, home.path, tmp_path / "aside")
    if kind == "folder":
        (home.path / "letter.txt").touch()
        home.path.chmod(0o755)
    assert not ledger.record_hook(BEGIN, END).journaled
    assert [path.stem for path in spool.iterdir()] == [BEGIN["id"]]
    ledger.close()
