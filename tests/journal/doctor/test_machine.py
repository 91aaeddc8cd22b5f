"""What ``diagnose`` says of the machine: space, and versions of Python and the libraries."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from keledger.journal import Home
from keledger.journal import _doctor_machine as doctor_machine
from keledger.journal._doctor_journal import version_key

from .support import only

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("free_bytes", "free_files", "all_files", "state"),
    [
        (10**7, 10**6, 10**6, "problem"),
        (5 * 10**8, 10**6, 10**6, "note"),
        (10**10, 10**6, 10**6, "ok"),
        (10**10, 10, 10**6, "problem"),
        (10**10, 0, 0, "ok"),
    ],
)
def test_space(
    home: Home, monkeypatch: pytest.MonkeyPatch, free_bytes: int, free_files: int, all_files: int, state: str
) -> None:
    found = os.statvfs_result((4096, 1, free_bytes, free_bytes, free_bytes, all_files, free_files, free_files, 0, 255))
    monkeypatch.setattr(doctor_machine.os, "statvfs", lambda _: found)
    assert only(home, "space").state == state


def test_versions_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = dict(part.replace("<", "").split(">=") for part in project["dependencies"])
    ranges = {name: tuple(stated[name].split(",")) for name in doctor_machine.SUPPORTED}
    assert ranges == doctor_machine.SUPPORTED
    assert project["requires-python"] == f">={doctor_machine.PYTHON_MIN}"


@pytest.mark.parametrize(
    ("version", "state"),
    [("1.4.9", "problem"), ("1.5.0", "ok"), ("2.14.3", "ok"), ("2.999", "ok"), ("3.0.0rc1", "problem")],
)
def test_a_version_out_of_range(home: Home, monkeypatch: pytest.MonkeyPatch, version: str, state: str) -> None:
    found = {"click": "8.2", "duckdb": version, "orjson": "3.10", "pydantic": "2.11"}
    monkeypatch.setattr(doctor_machine.importlib.metadata, "version", found.__getitem__)
    check = only(home, "versions")
    assert check.state == state
    assert state == "ok" or "duckdb>=1.5,<3" in str(check.remedy)


def test_releases_are_ordered_by_their_numbers() -> None:
    assert version_key("2.14.3") > version_key("2.9") > version_key("2") > version_key("1.99.99+local.7")
