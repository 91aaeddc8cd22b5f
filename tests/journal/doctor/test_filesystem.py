"""On what kind of filesystem a home is, and whether that will do."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from keledger.journal import Home, filesystem_kind
from keledger.journal import _doctor_machine as doctor_machine
from keledger.journal import _filesystem as filesystem

from .support import only

MOUNTINFO = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
31 27 0:40 / /home rw,relatime shared:9 master:2 - autofs systemd-1 rw,fd=30
32 31 0:41 /export /home rw,relatime - nfs4 server:/export rw,vers=4.2
33 27 0:42 / /media/with\040space rw - cifs //server/share rw
34 27 0:43 / /media rw - fuse.sshfs user@server:/ rw
35 27 0:44 / /run rw shared:5 - tmpfs tmpfs rw,mode=755
36 27 0:45 / /mnt/c rw - 9p drvfs rw,aname=drvfs
37 27 0:46 /sub /data rw - btrfs /dev/sdb rw,subvol=/sub
38 27 0:47 / /media/disk rw - fuseblk /dev/sdc1 rw
39 27 0:48 / /media/odd rw - fuse.oddfs odd rw
40 27 0:49 / /var/lib/docker/merged rw - overlay overlay rw
41 27 0:60 / /srv/data rw - xfs /dev/sdd rw
42 27 0:61 / /srv rw - nfs4 server:/srv rw
not a mount
"""


@pytest.mark.parametrize(
    ("path", "device", "kind", "place"),
    [
        ("/", "254:0", "ext4", "disk"),
        ("/homes/me", "254:0", "ext4", "disk"),
        ("/home", "0:41", "nfs4", "network"),
        ("/home/me/.local/share/keledger", "0:41", "nfs4", "network"),
        ("/home/me", "0:99", "nfs4", "network"),  # of two mounts at one place the later one is seen
        ("/media/with space/home", "0:42", "cifs", "network"),
        ("/media/other", "0:43", "fuse.sshfs", "network"),
        ("/run/user/1000", "0:44", "tmpfs", "memory"),
        ("/mnt/c/Users", "0:45", "9p", "network"),
        ("/data/home", "0:99", "btrfs", "disk"),  # a subvolume shows a device of its own
        ("/media/disk/home", "0:47", "fuseblk", "disk"),
        ("/media/odd/home", "0:48", "fuse.oddfs", "unknown"),
        ("/var/lib/docker/merged/home", "0:49", "overlay", "disk"),
        ("/srv/data/home", "0:61", "nfs4", "network"),  # what was mounted deeper before lies hidden
    ],
)
def test_the_filesystem_of_a_path(path: str, device: str, kind: str, place: str) -> None:
    mount = filesystem.mount_of(path, device, filesystem.parse_mounts(MOUNTINFO))
    assert mount is not None
    found = filesystem.of_kind(mount.kind)
    assert (found.kind, found.place, found.is_network) == (kind, place, place == "network")


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("nfs", "problem"),
        ("fuse.rclone", "problem"),
        ("tmpfs", "note"),
        ("overlay", "note"),
        ("oddfs", "note"),
        ("xfs", "ok"),
    ],
)
def test_what_is_said_of_a_filesystem(home: Home, monkeypatch: pytest.MonkeyPatch, kind: str, state: str) -> None:
    monkeypatch.setattr(doctor_machine, "filesystem_kind", lambda _: filesystem.of_kind(kind))
    check = only(home, "filesystem")
    assert check.state == state
    assert kind in check.message
    assert (state == "problem") == ("budgets will refuse it" in check.message)


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="there is no /proc/self/mountinfo here")
def test_the_real_filesystems(tmp_path: Path) -> None:
    assert filesystem_kind("/proc").kind == "proc"
    found = filesystem_kind(tmp_path / "not" / "there" / "yet")
    assert found == filesystem_kind(tmp_path)
    assert found.kind != "unknown"
    shared_memory = Path("/dev/shm")
    if not os.path.ismount(shared_memory):
        pytest.skip("no /dev/shm is mounted here, so no tmpfs is at hand")
    assert filesystem_kind(shared_memory).place == "memory"


def test_a_machine_that_does_not_tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "nothing")
    assert filesystem_kind(tmp_path) == filesystem.UNKNOWN


@pytest.mark.parametrize(("flags", "place"), [(0x1000, "disk"), (0, "network")])
def test_what_macos_tells(flags: int, place: str) -> None:
    """A struct statfs as <sys/mount.h> lays it out: sizes and counts, flags at 64, the kind's name at 72."""
    buffer = bytearray(filesystem.DARWIN_STATFS_BYTES)
    buffer[64:68] = flags.to_bytes(4, sys.byteorder)
    buffer[72:77] = b"apfs\0"
    assert (found := filesystem._of_statfs(bytes(buffer))).kind == "apfs"
    assert found.place == place
