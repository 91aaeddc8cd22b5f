"""The file that runs inside KePrompt: what it may import, its syntax, and what it does where it does not fit."""

from __future__ import annotations

import ast
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from keledger.journal import capture
from keledger.journal.capture import _launcher, client

FOLDER = Path(capture.__file__).parent
OLDEST_PYTHON = (3, 10)


@pytest.mark.parametrize(
    "name",
    [
        "asking.py",
        "choosing.py",
        "client.py",
        "declared.py",
        "rendering.py",
        "shape.py",
        "statements.py",
        "_probe.py",
        "on_path/sitecustomize.py",
        "on_path/_keledger_bootstrap.py",
    ],
)
def test_it_needs_the_standard_library_alone_and_python_310(name: str) -> None:
    tree = ast.parse((FOLDER / name).read_text(), feature_version=OLDEST_PYTHON)
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module))
    allowed = {"keprompt.version", "sitecustomize", "_keledger_bootstrap"}
    assert {name.partition(".")[0] for name in imported - allowed} <= sys.stdlib_module_names


def test_a_keprompt_of_another_shape_is_left_alone(tmp_path: Path) -> None:
    package = tmp_path / "keprompt"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "version.py").write_text('__version__ = "9.0.0"\n')
    (package / "AiProvider.py").write_text(
        "class AiProvider:\n    def make_api_request(self, request):\n        return request + 1\n"
    )
    program = "from keprompt.AiProvider import AiProvider; print(AiProvider().make_api_request(1))"
    ended = subprocess.run(
        [sys.executable, "-m", "keledger", "run", "--", sys.executable, "-c", program],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (0, "2\n")
    assert ended.stderr.startswith("keledger: keprompt 9.0.0 calls models in a way that this keledger does not know")
    assert ended.stderr.count("\n") == 1


def test_ids_are_version_7_and_follow_the_clock() -> None:
    for make in (client.uuid7, _launcher._new_run):
        made = [uuid.UUID(make()) for _ in range(200)]
        assert {(each.version, each.variant) for each in made} == {(7, uuid.RFC_4122)}
        assert len(set(made)) == 200
        assert [each.int >> 80 for each in made] == sorted(each.int >> 80 for each in made)


def test_the_door() -> None:
    assert capture.__all__ == sorted(capture.__all__)
    for name in capture.__all__:
        assert getattr(capture, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = capture.nothing
