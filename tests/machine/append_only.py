"""A pytest plugin: the suite on journals that the file system itself lets nobody rewrite.

``python -m pytest -p tests.machine.append_only tests/journal`` gives every folder and file that is made in a
home's ``journal/`` and ``prices/`` the attribute of ``chattr +a`` as soon as it is made.  From then on the kernel
refuses to overwrite, truncate, rename or unlink them, to root as well.  A test that damages such a file itself, to
see what comes of it, cannot run like this and is skipped; where keledger is refused, the test fails.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pytest

from keledger.journal._disk import Disk

_GET_FLAGS, _SET_FLAGS, _APPEND_ONLY = 0x80086601, 0x40086602, 0x20  # linux/fs.h: FS_IOC_*FLAGS, FS_APPEND_FL
_TRUTH = ("journal", "prices")


def set_append_only(path: str | os.PathLike[str], on: bool = True) -> None:
    """``chattr +a`` or ``-a``.  Raises OSError where the file system has no such attribute, or this is not root."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        flags = array.array("l", [0])
        fcntl.ioctl(descriptor, _GET_FLAGS, flags)
        wanted = flags[0] | _APPEND_ONLY if on else flags[0] & ~_APPEND_ONLY
        if wanted != flags[0]:
            fcntl.ioctl(descriptor, _SET_FLAGS, array.array("l", [wanted]))
    finally:
        os.close(descriptor)


def clear_append_only(folder: Path) -> None:
    """Let everything below a folder be removed again."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            if not os.path.islink(path) and (os.path.isdir(path) or os.path.isfile(path)):
                set_append_only(path, on=False)


def _is_truth(path: Path) -> bool:
    return path.name in _TRUTH or path.parent.name in _TRUTH or path.parent.parent.name in _TRUTH


def _protect_what_is_made() -> None:
    make_folder, create, link, replace = Disk.make_folder, Disk.create_exclusive, Disk.link, Disk.replace

    def make_protected_folder(disk: Disk, path: Path) -> bool:
        made = make_folder(disk, path)
        if _is_truth(path):
            set_append_only(path)
        return made

    def create_protected(disk: Disk, path: Path) -> int:
        descriptor = create(disk, path)
        if _is_truth(path):
            set_append_only(path)
        return descriptor

    def link_protected(disk: Disk, source: Path, target: Path) -> None:
        link(disk, source, target)
        if _is_truth(target):
            # The name that it was staged under goes away again, which the attribute would forbid.
            os.unlink(source)
            set_append_only(target)

    def replace_protected(disk: Disk, source: Path, target: Path) -> None:
        replace(disk, source, target)
        if _is_truth(target):
            set_append_only(target)

    for name, protected in (
        ("make_folder", make_protected_folder),
        ("create_exclusive", create_protected),
        ("link", link_protected),
        ("replace", replace_protected),
    ):
        setattr(Disk, name, protected)


def pytest_configure(config: pytest.Config) -> None:
    _protect_what_is_made()


def _came_from_the_product(trace: TracebackType | None) -> bool:
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__")).startswith("keledger."):
            return True
        trace = trace.tb_next
    return False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    try:
        return (yield)
    except PermissionError as error:
        if error.errno == errno.EPERM and not _came_from_the_product(error.__traceback__):
            pytest.skip("this test changes the journal's files itself")
        raise
    finally:
        folder = getattr(item, "funcargs", {}).get("tmp_path")
        if folder is not None and sys.platform == "linux":
            clear_append_only(folder)
