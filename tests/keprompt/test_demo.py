"""``keledger demo``."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest

from keledger.cli.main import main

from .support import KELEDGER


def demo(tmp_path: Path, *options: str) -> str:
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary"), "KELEDGER_HOME": str(tmp_path / "of-the-user")}
    (tmp_path / "temporary").mkdir()
    ended = subprocess.run(
        [*KELEDGER, "demo", *options], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("keledger: ") == 3  # the closing lines of three runs
    return ended.stdout


@pytest.mark.parametrize("keep", [False, True])
def test_it_shows_the_main_job_and_leaves_the_user_alone(tmp_path: Path, keep: bool) -> None:
    output = demo(tmp_path, *(["--keep"] if keep else []))
    assert "127.0.0.1" in output
    assert "imaginary" in output
    assert "$ keledger run -- keprompt chat new --prompt weather" in output
    # By the list prices of 2026-11, in USD a million: 388 x 0.25 + 1,024 x 0.025 + 214 x 2, then
    # 262 x 1 + 2,048 x 1.25 + 61 x 5 and 354 x 1 + 2,048 x 0.1 + 34 x 5.
    assert "$0.004406" in output
    assert not (tmp_path / "of-the-user").exists()
    assert list(Path(os.environ["HOME"]).iterdir()) == []
    left = [path.name for path in (tmp_path / "temporary").iterdir()]
    assert len(left) == keep


def test_without_keprompt_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["demo"]) == 1
    sentence = capsys.readouterr().err
    assert sentence.count("\n") == 1
    assert sentence.endswith("-m pip install keprompt\n")
