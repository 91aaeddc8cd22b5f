"""Power cuts: ``python -m tests.machine.power_cut [--cuts 20] [--filesystem ext4|xfs] [--seed 1]``.

For each cut a file system is made in a file and mounted by way of a loop device.  Four processes append to a home on
it and tell a pipe what was acknowledged.  At a random moment the file system is shut down without writing its log
(FS_IOC_GOINGDOWN): what was not synced is gone, as when the power fails.  Then it is mounted again: every
acknowledged call must be there, an append must work, and ``verify`` must find no damage after it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from keledger.journal import Home, KeledgerError, Ledger, scan_journal, verify
from keledger.journal import _limits as limits
from keledger.journal._identity import id_of_key
from tests.endurance._work import call_of, key_of

from ._needs import own_mount_namespace

_GOINGDOWN = 0x8004587D  # FS_IOC_GOINGDOWN, _IOR('X', 125, __u32): xfs_fs.h, ext4.h
_NO_LOG_FLUSH = 2
SIZE_MB = {"ext4": 64, "xfs": 320}
"""Images are sparse; mkfs.xfs makes nothing smaller."""
PROCESSES = 4
SEGMENT_BYTES = 128 * 1024
"""So small that rotations are cut too."""
MOMENTS_S = ((0.0, 0.12), (0.1, 0.8))
"""How long to wait: half of the cuts meet the making of the home and the adoption of its price book."""


@dataclass(frozen=True)
class Cut:
    """What one power cut left."""

    acknowledged: int
    """Calls whose acknowledgement had left the machine when the power failed."""
    later: int
    """Calls acknowledged while it failed: see :func:`_append_until_cut`."""
    found: int
    lost: int
    tail: str
    problem: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.machine.power_cut", description=__doc__.partition("\n")[0])
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--filesystem", choices=sorted(SIZE_MB), default="ext4")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    why = _why_not(options.filesystem)
    if why:
        print(f"power cuts cannot be made here: {why}")
        return 2
    limits.SEGMENT_BYTES_MAX = SEGMENT_BYTES
    moments, tails, total, broken = random.Random(options.seed), Counter[str](), 0, 0
    print("cut  filesystem  acknowledged  later  found  lost  tail")
    with tempfile.TemporaryDirectory(prefix="keledger-power-") as folder:
        os.environ["XDG_STATE_HOME"] = f"{folder}/state"
        with Ledger.open(f"{folder}/warm") as ledger:
            ledger.event_of(call_of(0, 0))
        for number in range(1, options.cuts + 1):
            cut = _cut(Path(folder), options.filesystem, moments)
            tails[cut.tail] += 1
            total += cut.acknowledged
            broken += bool(cut.lost or cut.problem)
            counts = f"{cut.acknowledged:12,}  {cut.later:5}  {cut.found:5,}  {cut.lost:4}"
            wrong = f"  WRONG: {cut.problem}" if cut.problem else ""
            print(f"{number:3}  {options.filesystem:10}  {counts}  {cut.tail}{wrong}", flush=True)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(tails.items()))
    print(f"{options.cuts} power cuts on {options.filesystem}, {total:,} calls acknowledged: {kinds}")
    print(f"{broken} cuts broke a promise")
    return 1 if broken else 0


def _why_not(filesystem: str) -> str:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux"
    for tool in (f"mkfs.{filesystem}", "mount", "umount", "losetup"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    tried = subprocess.run(["losetup", "--find"], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"no loop devices: {tried.stderr.strip()}"
    return own_mount_namespace()


def _cut(folder: Path, filesystem: str, moments: random.Random) -> Cut:
    """Make a file system, append until the power fails, and look at what is left."""
    image, disk = folder / "image", folder / "disk"
    disk.mkdir(exist_ok=True)
    with image.open("wb") as file:
        file.truncate(SIZE_MB[filesystem] * 1024 * 1024)
    subprocess.run([f"mkfs.{filesystem}", "-q", str(image)], check=True)
    home = Home.at(disk / "user" / "home")
    try:
        with _mounted(image, disk):
            told, later = _append_until_cut(disk, home, moments)
        with _mounted(image, disk):
            return _reckon(home, told, sum(later.values()) - sum(told.values()))
    finally:
        image.unlink()


@contextlib.contextmanager
def _mounted(image: Path, disk: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _append_until_cut(disk: Path, home: Home, moments: random.Random) -> tuple[dict[int, int], dict[int, int]]:
    """How many calls each process was told to be durable: until the power failed, and until its end.

    Only the first is promised.  While the file system goes down the kernel lets a sync return that has synced
    nothing, to a process that in a real power cut would not have lived to see it.
    """
    receive, send = os.pipe()
    os.set_blocking(receive, False)
    children = [_fork(home, worker, send, moments.random()) for worker in range(PROCESSES)]
    children.append(_fork_neighbour(disk))
    os.close(send)
    descriptor = os.open(disk, os.O_RDONLY)
    told = b""
    least, most = moments.choice(MOMENTS_S)
    deadline = time.monotonic() + moments.uniform(least, most)
    while time.monotonic() < deadline:
        time.sleep(0.001)
        told += _drain(receive)
    told += _drain(receive)
    fcntl.ioctl(descriptor, _GOINGDOWN, struct.pack("I", _NO_LOG_FLUSH))
    os.close(descriptor)
    time.sleep(0.05)  # whoever is still appending is refused now
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    later = told + _drain(receive)
    os.close(receive)
    return _by_worker(told), _by_worker(later)


def _drain(descriptor: int) -> bytes:
    """What is in the pipe now.  Each process writes whole lines into it, which a pipe keeps whole."""
    told = b""
    with contextlib.suppress(BlockingIOError):
        while part := os.read(descriptor, 65536):
            told += part
    return told


def _by_worker(told: bytes) -> dict[int, int]:
    upto: dict[int, int] = {}
    for line in told.splitlines():
        worker, number = map(int, line.split())
        upto[worker] = number
    return upto


def _fork(home: Home, worker: int, send: int, seed: float) -> int:
    child = os.fork()
    if child:
        return child
    try:
        sizes, done = random.Random(seed), 0
        with Ledger.open(home.path) as ledger:
            while True:
                upto = done + sizes.choice((1, 1, 1, 2, 20, 200))
                ledger.record_many([call_of(worker, number) for number in range(done, upto)])
                os.write(send, b"%d %d\n" % (worker, upto))
                done = upto
    except (KeledgerError, OSError):  # the power is gone
        signal.pause()
    finally:
        os._exit(1)


def _fork_neighbour(disk: Path) -> int:
    """Another program, whose syncs bring the sizes of our files to the disk before their content."""
    child = os.fork()
    if child:
        return child
    try:
        descriptor = os.open(disk / "neighbour", os.O_WRONLY | os.O_CREAT)
        while True:
            os.write(descriptor, b"x")
            os.fsync(descriptor)
    except OSError:
        signal.pause()
    finally:
        os._exit(1)


def _reckon(home: Home, told: dict[int, int], later: int) -> Cut:
    expected = {id_of_key("record", key_of(worker, number)) for worker, upto in told.items() for number in range(upto)}
    tail = _tail(home)
    try:
        with Ledger.open(home.path) as ledger:
            ledger.record(**call_of(PROCESSES, 0))
        damage = [finding.message for finding in verify(home).findings if finding.damage]
    except KeledgerError as error:
        damage = [str(error)]
    found = {
        event["id"]
        for chunk in scan_journal(home).chunks
        for event in map(orjson.loads, chunk.lines())
        if event["type"] == "call.completed"
    }
    lost = len(expected - found)
    found.discard(id_of_key("record", key_of(PROCESSES, 0)))
    return Cut(sum(told.values()), later, len(found), lost, tail, "; ".join(damage))


def _tail(home: Home) -> str:
    """What stands behind the last whole line of the newest segment."""
    if not home.journal.exists():
        return "no home yet"
    findings = scan_journal(home).findings
    torn = [finding for finding in findings if finding.kind == "tail_torn"]
    if torn:
        with contextlib.suppress(OSError), open(torn[0].path, "rb") as file:
            file.seek(torn[0].offset_bytes or 0)
            rest = file.read()
            return "NUL bytes" if not rest.strip(b"\0") else "NUL bytes in it" if b"\0" in rest else "part of a line"
    return "headless segment" if any(finding.kind == "segment_headless" for finding in findings) else "clean"


if __name__ == "__main__":
    sys.exit(main())
