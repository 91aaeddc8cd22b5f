"""A disk that remembers what was synced, and after a power cut holds one of the states that it then may hold.

The model is what POSIX promises and what filesystems were seen to do, not what one of them happens to do:

- ``fdatasync`` and ``fsync`` of a file make its bytes durable, its length included as far as reading them needs it.
  They do not make its name durable: that is the business of ``fsync`` on the folder that holds the name (fsync(2): "an
  explicit fsync() on a file descriptor for the directory is also needed").
- ``fsync`` of a folder makes the names in it durable: not the content of what they name, and not its own name in the
  folder above.
- Bytes that were not synced come back in any part.  Whole 512-byte sectors or 4096-byte pages of them may be missing
  while later ones are there (ALICE, Pillai et al., OSDI 2014; etcd-io/etcd#6378 was found so); the length may have
  been journaled before the data, so that NULs stand in their place (seen on ext4 after a real cut); a write may be cut
  at any byte; and where blocks were allocated before they were written, somebody's old bytes may show.
- Names that were not synced come back in any part, too: a created file may be nameless though its bytes were synced, a
  rename may be undone, a removed file may be there again.  A rename within a folder is atomic.
- After a failed sync the kernel takes the data for clean (Rebello et al., USENIX ATC 2020; PostgreSQL's "fsyncgate").
  A second sync succeeds and brings nothing back: such bytes stay in doubt until the machine is restarted.  Reading them
  may already show what is on the disk instead.  Whoever had the file open at that moment is told once, at the next
  sync of its own (errseq_t, Linux 4.13); who opens it later is not.
- A failed sync of a folder either changed nothing (no memory), or it is the filesystem's own journal that failed: then
  ext4, XFS and btrfs take no change any more until they are mounted again.
- What was synced stays as it is.  Disks that lie, and bits that rot, are not simulated.

A killed process loses nothing of this: what it wrote stands in the page cache, for everybody to see.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeAlias

SECTOR_BYTES = 512
PAGE_BYTES = 4096

UNTRACKED = frozenset(["projections"])
"""Folders of a home that are written past the simulated disk, by DuckDB.  A power cut removes them at times."""


@dataclass(slots=True)
class Written:
    """Bytes from *start* to *end* that no successful sync has covered."""

    start: int
    end: int
    taken_for_clean: bool = False
    """A sync of them failed: no later one brings them to the disk."""


@dataclass(slots=True, eq=False)
class FileNode:
    """A file by what is in it; its names stand in folders."""

    content: bytearray = field(default_factory=bytearray)
    unsynced: list[Written] = field(default_factory=list)
    untold: set[int] = field(default_factory=set)
    """Descriptors whose next sync tells of an error that another's sync met."""

    def append(self, data: bytes) -> None:
        """What a write(2) took."""
        start = len(self.content)
        self.content += data
        self.unsynced.append(Written(start, len(self.content)))

    def sync(self) -> None:
        """A sync that succeeded."""
        self.unsynced = [written for written in self.unsynced if written.taken_for_clean]

    def fail_sync(self) -> None:
        """A sync that failed."""
        for written in self.unsynced:
            written.taken_for_clean = True

    def after_power_cut(self, chance: Random) -> bytes:
        """One of the contents that the file may have when the power is back."""
        if not self.unsynced:
            return bytes(self.content)
        kept = bytearray(self.content)
        shortest = self._synced_end()
        garbage = chance.random() < 0.1
        for written in self.unsynced:
            for start, end, stays in _fates(written, chance):
                if stays:
                    shortest = max(shortest, end)
                else:
                    kept[start:end] = chance.randbytes(end - start) if garbage else bytes(end - start)
        return bytes(kept[: chance.choice([shortest, len(kept), chance.randint(shortest, len(kept))])])

    def _synced_end(self) -> int:
        """Where the last synced byte ends."""
        end = len(self.content)
        for written in reversed(self.unsynced):
            if written.end != end:
                break
            end = written.start
        return end


def _fates(written: Written, chance: Random) -> Iterator[tuple[int, int, bool]]:
    """Parts of unsynced bytes, and whether each of them reached the disk."""
    start, end = written.start, written.end
    fate = chance.choice(["gone", "gone", "there", "cut", "sectors", "pages"])
    if fate == "cut":
        middle = chance.randint(start, end)
        yield start, middle, True
        yield middle, end, False
    elif fate in ("sectors", "pages"):
        block_bytes = SECTOR_BYTES if fate == "sectors" else PAGE_BYTES
        while start < end:
            next_block = min(end, (start // block_bytes + 1) * block_bytes)
            yield start, next_block, chance.random() < 0.5
            start = next_block
    else:
        yield start, end, fate == "there"


@dataclass(slots=True)
class Change:
    """A name that now means *node* (None: nothing), and with a rename the name that it had before."""

    name: str
    node: Node | None
    renamed_from: str | None = None

    def apply(self, entries: dict[str, Node]) -> None:
        """Make the change in a folder's entries."""
        if self.renamed_from is not None:
            entries.pop(self.renamed_from, None)
        if self.node is None:
            entries.pop(self.name, None)
        else:
            entries[self.name] = self.node


@dataclass(slots=True, eq=False)
class FolderNode:
    """A folder: the names that it shows, those that are durable, and the changes in between."""

    entries: dict[str, Node] = field(default_factory=dict)
    durable: dict[str, Node] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    def change(self, change: Change) -> None:
        """A created, linked, renamed or removed name."""
        change.apply(self.entries)
        self.changes.append(change)

    def sync(self) -> None:
        """A sync that succeeded."""
        self.durable = dict(self.entries)
        self.changes.clear()

    def after_power_cut(self, chance: Random) -> dict[str, Node]:
        """One of the sets of names that the folder may have when the power is back."""
        names = dict(self.durable)
        likelihood = chance.choice([0.0, 0.5, 1.0])
        for change in self.changes:
            if chance.random() < likelihood:
                change.apply(names)
        return names


Node: TypeAlias = FileNode | FolderNode


class Storage:
    """The disk of one machine: real files below *root*, and beside each what is known of its durability."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = FolderNode()
        self.read_only = False
        """Whether the filesystem met an error in its own journal, and takes no change until it is mounted again."""
        self.torn: dict[str, list[Written]] = {}
        """By path the writes of which a power cut has lost something."""
        self._skip = len(str(root)) + 1

    def holds(self, path: str) -> bool:
        """Whether a path leads to this disk."""
        return path == str(self.root) or path.startswith(f"{self.root}/")

    def find(self, path: str) -> Node | None:
        """What stands at a path; None for nothing."""
        node: Node | None = self.tree if self.holds(path) else None
        if len(path) < self._skip:
            return node
        for name in path[self._skip :].split("/"):
            node = node.entries.get(name) if isinstance(node, FolderNode) else None
        return node

    def folder_of(self, path: str) -> tuple[FolderNode, str]:
        """The folder that holds a path's name, and that name."""
        above, _, name = path.rpartition("/")
        folder = self.find(above)
        if not isinstance(folder, FolderNode):
            raise LookupError(f"{path} is in no folder that was made on the simulated disk")
        return folder, name

    def is_settled(self, path: str) -> bool:
        """Whether everything below a path is durable."""
        return _is_settled(self.find(path))

    def cut_power(self, chance: Random) -> None:
        """Bring the real files into one of the states that the disk may be in when the power is back."""
        self.read_only = False
        self._notice_removed(self.tree, self.root)
        contents: dict[FileNode, bytes] = {}
        self.tree = self._restart(self.tree, self.root, chance, contents)

    def take_as_durable(self) -> None:
        """Begin from what the real files hold now: somebody brought them here and synced them."""
        self.tree = _read_tree(self.root)

    def _notice_removed(self, folder: FolderNode, path: Path) -> None:
        """Whole folders are removed past the simulated disk: those changes were not synced."""
        for name in [name for name in folder.entries if not os.path.lexists(path / name)]:
            folder.change(Change(name, None))
        for name, node in folder.entries.items():
            if isinstance(node, FolderNode):
                self._notice_removed(node, path / name)

    def _restart(self, folder: FolderNode, path: Path, chance: Random, contents: dict[FileNode, bytes]) -> FolderNode:
        """The folder as it is found after the power cut; the real one is brought to the same."""
        names = folder.after_power_cut(chance)
        for name in os.listdir(path):
            if names.get(name) is not folder.entries.get(name) or (name in UNTRACKED and chance.random() < 0.5):
                _remove(path / name)
        fresh: dict[str, Node] = {}
        for name, node in names.items():
            if isinstance(node, FolderNode):
                (path / name).mkdir(mode=0o700, exist_ok=True)
                fresh[name] = self._restart(node, path / name, chance, contents)
                continue
            content = contents.get(node)
            if content is None:
                content = contents[node] = node.after_power_cut(chance)
            if content != node.content:
                self.torn.setdefault(str(path / name), []).extend(node.unsynced)
            if content != node.content or not (path / name).exists():
                _write(path / name, content)
            fresh[name] = FileNode(bytearray(content))
        return FolderNode(fresh, dict(fresh))


def _is_settled(node: Node | None) -> bool:
    if isinstance(node, FolderNode):
        return not node.changes and all(map(_is_settled, node.entries.values()))
    return node is None or not node.unsynced


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _write(path: Path, content: bytes) -> None:
    """A new file, so that whoever still holds the old one open does not see it."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)


def _read_tree(path: Path) -> FolderNode:
    entries: dict[str, Node] = {}
    with os.scandir(path) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in UNTRACKED:
                    entries[entry.name] = _read_tree(Path(entry.path))
            else:
                entries[entry.name] = FileNode(bytearray(Path(entry.path).read_bytes()))
    return FolderNode(entries, dict(entries))
