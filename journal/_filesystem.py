"""Which filesystem holds a path, as far as the journal's promises hang on it: its locks, and what a sync means.

A network filesystem may grant one flock to two machines and may say "synced" before anything is.  Records survive
that (every line is checked when it is read); a limit on spending that must hold among processes does not.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

MOUNTS = Path("/proc/self/mountinfo")

NETWORK_KINDS = frozenset(
    (
        "9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs", "lustre",
        "ncpfs", "nfs", "nfs3", "nfs4", "ocfs2", "pvfs2", "smb", "smb2", "smb3", "smbfs", "webdav",
        # Folders of the machine around this one: the same files, and locks that only this side knows.
        "fakeowner", "prl_fs", "vboxsf", "virtiofs", "vmhgfs",
    )
)  # fmt: skip
"""Kinds whose files other machines may have open, too, by the names that Linux and macOS give them."""

NETWORK_FUSE_KINDS = frozenset(
    (
        "afpfs", "ceph-fuse", "cephfs", "cifs", "curlftpfs", "davfs", "davfs2", "gcsfuse", "glusterfs", "goofys",
        "google-drive-ocamlfuse", "grpcfuse", "hdfs", "juicefs", "mount-s3", "nfs", "onedriver", "osxfs", "rclone",
        "s3fs", "seaweedfs", "smbnetfs", "sshfs", "vmhgfs-fuse", "weed",
    )
)  # fmt: skip
"""What stands behind ``fuse.`` where a program in user space brings files from another machine."""

MEMORY_KINDS = frozenset(("devtmpfs", "hugetlbfs", "ramfs", "rootfs", "tmpfs"))
"""Kinds that a restart empties."""

DISK_KINDS = frozenset(
    (
        "apfs", "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfs", "jfs", "msdos",
        "nilfs2", "ntfs", "ntfs3", "overlay", "reiserfs", "udf", "ufs", "vfat", "xfs", "zfs",
    )
)  # fmt: skip
"""Kinds on a disk of this machine.  ``overlay`` is a container's own layer, on one."""


@dataclass(frozen=True, slots=True)
class Filesystem:
    """A filesystem by the name of its ``kind`` (``ext4``, ``nfs4``), and where it keeps its files.

    ``place`` is ``unknown`` for a kind that is on none of the lists above.
    """

    kind: str
    place: Literal["disk", "memory", "network", "unknown"]

    @property
    def is_network(self) -> bool:
        """Whether another machine may have the same files open, so that a lock here says nothing."""
        return self.place == "network"


UNKNOWN = Filesystem("unknown", "unknown")


def filesystem_kind(path: str | os.PathLike[str]) -> Filesystem:
    """The filesystem that holds *path*, or will hold it once it is made.  Never raises for a path that is missing.

    Linux tells through /proc/self/mountinfo (proc(5)), macOS through statfs(2); elsewhere it is unknown.
    """
    real = os.path.realpath(path)
    try:
        found = os.stat(nearest_existing(Path(real)))  # first, for it may bring about an automatic mount
        if sys.platform == "darwin":
            return _of_statfs(_statfs(str(nearest_existing(Path(real)))))
        mounts = parse_mounts(os.fsdecode(MOUNTS.read_bytes()))
    except OSError:
        return UNKNOWN
    mount = mount_of(real, f"{os.major(found.st_dev)}:{os.minor(found.st_dev)}", mounts)
    return of_kind(mount.kind) if mount is not None else UNKNOWN


def of_kind(kind: str) -> Filesystem:
    """What is known of a kind of filesystem by its name."""
    if kind in NETWORK_KINDS or (kind.startswith("fuse.") and kind.removeprefix("fuse.") in NETWORK_FUSE_KINDS):
        return Filesystem(kind, "network")
    if kind in MEMORY_KINDS:
        return Filesystem(kind, "memory")
    return Filesystem(kind, "disk" if kind in DISK_KINDS else "unknown")


def nearest_existing(path: Path) -> Path:
    """*path* itself, or the nearest folder above it that is there."""
    return next((place for place in (path, *path.parents) if os.path.lexists(place)), Path("/"))


class Mount(NamedTuple):
    """One line of mountinfo: the device as ``major:minor``, where it is mounted, and its kind."""

    device: str
    point: str
    kind: str


def parse_mounts(text: str) -> list[Mount]:
    """The mounts of a mountinfo file, in its order: later ones lie above earlier ones.  Other lines are passed over."""
    mounts = []
    for line in text.splitlines():
        place, separator, origin = line.partition(" - ")
        fields, kinds = place.split(" "), origin.split(" ")
        if separator and len(fields) >= 6:
            mounts.append(Mount(fields[2], _unescaped(fields[4]), kinds[0]))
    return mounts


def mount_of(real: str, device: str, mounts: Iterable[Mount]) -> Mount | None:
    """The mount that holds a real path: of those above it the deepest, of several at one place the newest.

    One of the path's own device comes first.  Where none has it (each subvolume of btrfs shows a device of its own,
    which mountinfo does not know), the place decides alone.
    """
    above = [mount for mount in mounts if _lies_below(real, mount.point)]
    candidates = [mount for mount in above if mount.device == device] or above
    return max(reversed(candidates), key=lambda mount: len(mount.point), default=None)


def _lies_below(real: str, point: str) -> bool:
    return real == point or real.startswith(f"{point.rstrip('/')}/")


def _unescaped(field: str) -> str:
    """The kernel writes a space, tab, line feed and backslash in these names as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


DARWIN_STATFS_BYTES = 2168
_DARWIN_FLAGS_AT = 64
_DARWIN_KIND_AT = 72
_DARWIN_KIND_BYTES = 16
_DARWIN_LOCAL = 0x1000
"""``struct statfs`` with 64-bit inodes and MNT_LOCAL, as <sys/mount.h> of macOS has them since 10.6."""


def _statfs(path: str) -> bytes:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    call = getattr(library, "statfs$INODE64", None) or library.statfs
    buffer = ctypes.create_string_buffer(DARWIN_STATFS_BYTES)
    if call(os.fsencode(path), buffer) != 0:
        raise OSError(ctypes.get_errno(), "statfs", path)
    return buffer.raw


def _of_statfs(buffer: bytes) -> Filesystem:
    """What macOS says: a volume without MNT_LOCAL is another machine's, whatever its kind."""
    name = buffer[_DARWIN_KIND_AT : _DARWIN_KIND_AT + _DARWIN_KIND_BYTES].partition(b"\0")[0].decode("ascii", "replace")
    flags = int.from_bytes(buffer[_DARWIN_FLAGS_AT : _DARWIN_FLAGS_AT + 4], sys.byteorder)
    return of_kind(name) if flags & _DARWIN_LOCAL else Filesystem(name, "network")
