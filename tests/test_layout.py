"""The house: imports run one way, and every package has its files in the wheel."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "data": set[str](),
    "journal": {"data"},
    "projections": {"journal", "data"},
    "cli": {"projections", "journal", "data"},
}
"""What each folder may import of the others."""

SCRIPTS = {Path("data/build_prices.py"), Path("data/build_model_limits.py")}
"""Run by hand in a checkout to make what ships.  Nothing imports them, so they may import what they like."""

_IGNORED = {"__pycache__", ".ruff_cache", ".mypy_cache"}


def _sources(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "keledger" not in path.parts[len(ROOT.parts) :])


def _imported(path: Path) -> set[str]:
    """The parts of keledger that a file names in its import statements, wherever they stand."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name.split(".")[1] for name in names if name.startswith("keledger.")}


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_run_one_way(folder: str) -> None:
    sources = _sources(folder)
    assert sources
    for path in sources:
        if path.relative_to(ROOT) in SCRIPTS:
            continue
        others = _imported(path) & MAY_IMPORT.keys() - {folder}
        assert others <= MAY_IMPORT[folder], f"{path.relative_to(ROOT)} imports {others - MAY_IMPORT[folder]}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the checkout, so that nothing is left in it."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    copy.mkdir()
    for name in ("journal", "projections", "cli", "data", "pyproject.toml", "README.md", "LICENSE"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(copy)], check=True)
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(copy)]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_holds_every_file(wheel: Path) -> None:
    folders = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = set()
    for package, folder in sorted(folders.items()):
        for path in (ROOT / folder).rglob("*"):
            inside = path.relative_to(ROOT / folder)
            if path.is_file() and not _IGNORED & {*inside.parts} and inside.parts[0] != "keledger":
                expected.add(f"{package.replace('.', '/')}/{inside.as_posix()}")
    assert names == expected


def test_the_installed_wheel_works(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(target), "KELEDGER_HOME": str(tmp_path / "home")}

    def run(*arguments: str, given: str = "") -> str:
        command = [sys.executable, "-m", "keledger", *arguments]
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, env=environment, check=True, cwd=tmp_path
        )
        return done.stdout

    where = subprocess.run(
        [sys.executable, "-c", "import keledger; print(keledger.__file__)"],
        capture_output=True, text=True, env=environment, check=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    assert where.startswith(str(target))
    assert run("--version").strip().endswith(stated_version())
    run("record", given='{"provider":"openai","model":"gpt-5-mini","usage":{"input_uncached":1000000}}\n')
    assert '"cost_usd":"0.25"' in run("daily").replace(" ", "")
    assert run("verify", "--json")


def stated_version() -> str:
    """The version that the root package states."""
    for line in (ROOT / "cli" / "keledger" / "__init__.py").read_text().splitlines():
        if line.startswith("__version__"):
            return line.split('"')[1]
    raise AssertionError("no __version__")
