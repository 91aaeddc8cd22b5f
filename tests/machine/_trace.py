"""A trace of system calls: read from strace's log, and held to what the promises say about their order."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CHANGING = frozenset(
    (
        "chmod", "chown", "copy_file_range", "creat", "fallocate", "fchmod", "fchmodat", "fchown", "fchownat",
        "fdatasync", "fsync", "ftruncate", "lchown", "link", "linkat", "mkdir", "mkdirat", "mknod", "mknodat", "open",
        "openat", "pwrite64", "pwritev", "pwritev2", "rename", "renameat", "renameat2", "rmdir", "sendfile",
        "setxattr", "symlink", "symlinkat", "sync", "sync_file_range", "syncfs", "truncate", "unlink", "unlinkat",
        "utimensat", "write", "writev",
    )
)  # fmt: skip
"""Calls that change a file or a folder, or settle a change; opening is looked at by its flags."""

TRACED = CHANGING | {"access", "faccessat", "faccessat2", "flock", "pread64"}

_WRITING_FLAGS = re.compile(r"\bO_(WRONLY|RDWR|CREAT|TRUNC)\b")
_LINE = re.compile(r"\d+ +(\w+)\((.*?)(?:\)|<unfinished \.\.\.>) +(?:= (\?|-?\d+)(?:<[^>]*>)?(?: (E[A-Z]+))?.*)?$")
_DESCRIPTOR = re.compile(r"\b\d+<(/[^>]*)>")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BY_DESCRIPTOR = ("write", "pwrite64", "writev", "fdatasync", "fsync", "flock", "pread64", "ftruncate", "fchmod")


@dataclass(frozen=True, slots=True)
class Call:
    """One system call."""

    name: str
    paths: tuple[str, ...]
    """What it is about, absolute."""
    flags: str
    result: int | None
    """None where the process was killed in it."""
    error: str | None
    nth: int
    """Which call of its name this is, from 1 on: as an injection counts."""

    @property
    def path(self) -> str:
        """The path, or the last of two: what is made, written or synced."""
        return self.paths[-1] if self.paths else ""

    @property
    def changes(self) -> bool:
        """Whether it changes or settles something, or opens a file for that."""
        if self.name in ("openat", "open"):
            return _WRITING_FLAGS.search(self.flags) is not None
        return self.name in CHANGING


def read_trace(log: Path) -> list[Call]:
    """The calls of a log written with ``-y -s 0``, in their order."""
    calls: list[Call] = []
    counts: dict[str, int] = {}
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        name, arguments, result, error = found.groups()
        pattern = _DESCRIPTOR if name in _BY_DESCRIPTOR else _STRING
        counts[name] = counts.get(name, 0) + 1
        paths = tuple(path.removesuffix(" (deleted)") for path in pattern.findall(arguments))
        number = None if result in (None, "?") else int(result)
        calls.append(Call(name, paths, arguments, number, error, counts[name]))
    return calls


@dataclass
class PowerCut:
    """What a power cut could still take, followed through the calls of one process after another.

    *unsynced* are the names made, and *dirty* the files written, that no sync has settled yet, with how many bytes
    of each are settled.  At each acknowledgement neither may touch what leads to an acknowledged event.
    """

    home: Path
    told: Path
    unsynced: set[str] = field(default_factory=set)
    dirty: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    acknowledged: int = 0

    def follow(self, calls: Sequence[Call]) -> None:
        """Follow one process from its beginning to its end."""
        failed: dict[str, str] = {}
        for call in calls:
            if call.name == "write" and call.path == str(self.told):
                self._acknowledge()
            self._touch_failed(call, failed)
            if call.result is not None and call.result >= 0:
                self._take(call)

    def _take(self, call: Call) -> None:
        if call.name in ("mkdir", "mkdirat") or ("O_CREAT" in call.flags and "O_EXCL" in call.flags):
            self.unsynced.add(call.path)
        elif call.name in ("rename", "renameat", "renameat2", "link", "linkat"):
            self.unsynced.add(call.path)
            if call.name.startswith("rename"):
                self.unsynced.discard(call.paths[0])
                if call.paths[0] in self.dirty:
                    self.dirty[call.path] = self.dirty.pop(call.paths[0])
        elif call.name in ("unlink", "unlinkat", "rmdir"):
            self.unsynced.discard(call.path)
            self.dirty.pop(call.path, None)
        elif call.name == "write" and call.result:
            self.dirty.setdefault(call.path, self.sizes.get(call.path, 0))
            self.sizes[call.path] = self.sizes.get(call.path, 0) + call.result
        elif call.name == "fdatasync":
            self.dirty.pop(call.path, None)
        elif call.name == "fsync":
            self.unsynced = {name for name in self.unsynced if os.path.dirname(name) != call.path}

    def _touch_failed(self, call: Call, failed: dict[str, str]) -> None:
        """After a failed write or sync nobody writes to that file or syncs it again.

        Two exceptions.  EINTR is no failure of the disk: the interpreter itself asks again (PEP 475).  And a file
        into which nothing was written is still empty and may be taken over.
        """
        if call.name in ("write", "fdatasync") and self._is_truth(call.path):
            if call.path in failed:
                self.problems.append(f"{call.name} on {call.path} after its {failed[call.path]}")
            empty = call.name == "write" and not self.sizes.get(call.path)
            if call.error is not None and call.error != "EINTR" and not empty:
                failed[call.path] = f"{call.name} failed with {call.error}"

    def _acknowledge(self) -> None:
        self.acknowledged += 1
        for name in self.unsynced:
            if self._is_truth(name) or self.home.is_relative_to(name):
                self.problems.append(f"acknowledgement {self.acknowledged}: the name {name} is not synced")
        for name, synced in self.dirty.items():
            if self._is_truth(name) and not self._sealed_at_most(name, synced):
                self.problems.append(f"acknowledgement {self.acknowledged}: {name} is not synced after {synced} bytes")

    def _is_truth(self, name: str) -> bool:
        path = Path(name)
        inside = (self.home / "journal", self.home / "prices")
        return not path.name.startswith(".") and (path == self.home / "writer.json" or _below(path, inside))

    def _sealed_at_most(self, name: str, length: int) -> bool:
        """Whether a later segment sealed a file off at bytes that were all synced."""
        path = Path(name)
        seals = re.compile(rb'"file":"%s","length_bytes":(\d+)' % path.name.encode())
        lengths = [int(found) for later in path.parent.glob("*.jsonl") for found in seals.findall(later.read_bytes())]
        return bool(lengths) and lengths[0] <= length


def _below(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)
