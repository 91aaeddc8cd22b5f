"""What a test needs of the machine, and, where it is not there, the sentence that the report shows."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import sys

import pytest

_CLONE_NEWNS = 0x00020000  # linux/sched.h
_MS_PRIVATE_REC = 0x00040000 | 0x00004000  # linux/mount.h: MS_PRIVATE | MS_REC


def need_root() -> None:
    """Skip unless this process may do everything."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


def need_tool(*names: str) -> None:
    """Skip unless all of these programs are installed."""
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")


def need_mounts() -> None:
    """Skip unless this process can mount.  From here on it does so in a mount namespace of its own.

    No other process sees such a mount, and it ends with this process at the latest.
    """
    need_root()
    need_tool("mount", "umount")
    problem = own_mount_namespace()
    if problem:
        pytest.skip(f"mount is not permitted: {problem}")


@functools.cache
def own_mount_namespace() -> str:
    """Give this process a mount namespace of its own; returns why that cannot be, or nothing."""
    if sys.platform != "linux":
        return "only Linux has mount namespaces"
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_CLONE_NEWNS) != 0:
        return f"unshare: {os.strerror(ctypes.get_errno())}"
    if library.mount(b"none", b"/", None, _MS_PRIVATE_REC, None) != 0:
        return f"mount --make-rprivate: {os.strerror(ctypes.get_errno())}"
    return ""


def need_strace() -> None:
    """Skip unless strace is there and may trace a process that is not its child."""
    need_tool("strace")
    problem = _tracing_problem()
    if problem:
        pytest.skip(f"ptrace is not allowed here: {problem}")


@functools.cache
def _tracing_problem() -> str:
    tried = subprocess.run(
        ["strace", "-e", "trace=none", "-e", "inject=fsync:error=EIO:when=1", "true"],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    return "" if tried.returncode == 0 else tried.stderr.strip().splitlines()[-1]
