"""Mounts for the tests of this folder, in a mount namespace of the test process's own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ._needs import need_mounts

Mount = Callable[..., None]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Call as ``mount(folder, "-t", "tmpfs", "tmpfs")``; what was mounted is unmounted after the test."""
    need_mounts()
    mounted: list[Path] = []

    def do(folder: Path, *options: str) -> None:
        done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"mount is not permitted: {done.stderr.strip()}")
        if "remount" not in ",".join(options):
            mounted.append(folder)

    yield do
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
