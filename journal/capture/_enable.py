"""Watch a KePrompt without a launcher: one ``.pth`` file in the environment of the interpreter that runs it.

A line of a ``.pth`` file that begins with ``import`` is executed whenever that interpreter starts (see Python's
``site``).  Ours holds the whole bootstrap, so that it loads no file, and goes on harmlessly when keledger is gone.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keledger.journal._errors import KeledgerError

from .client import REQUEST_PARAMETERS

PTH_NAME = "keledger-keprompt.pth"

PROBE_WAIT_S = 60
"""A foreign interpreter has this long to say what it holds; a cold disk may take seconds."""

TRAMPOLINE_LINES = 4
"""How many lines of a shell script are looked at for the interpreter that it hands itself to."""

_HERE = Path(__file__).resolve().parent


class KePromptUnusable(KeledgerError):
    """There is no KePrompt where one was looked for, or it cannot be watched."""


@dataclass(frozen=True, slots=True)
class Installation:
    """One interpreter and its KePrompt.

    ``version`` is None where it has none; ``fits`` says whether this keledger knows how that version calls models;
    ``keledger`` is the interpreter that journals its calls, None where it is not enabled, ``intact`` whether what
    the ``.pth`` file points to is still there, and ``statements`` whether it turns on ``.budget`` and ``.cost_check``.
    """

    interpreter: str
    python: str
    version: str | None
    fits: bool
    pth: Path
    keledger: str | None
    intact: bool
    statements: bool = False

    @property
    def enabled(self) -> bool:
        """Whether the ``.pth`` file is there."""
        return self.keledger is not None


def find(keprompt: str | None = None, python: str | None = None) -> Installation:
    """The installation to work on: that of an interpreter, of a script, or of the first ``keprompt`` on PATH.

    Raises KePromptUnusable.
    """
    if python is not None:
        return examine(_executable(python))
    script = shutil.which(keprompt or "keprompt")
    if script is not None:
        return examine(interpreter_of(script))
    if keprompt is not None:
        raise KePromptUnusable(f"{keprompt} is not there or not executable")
    own = examine(sys.executable)
    if own.version is None:
        raise KePromptUnusable("no keprompt is on PATH: give --keprompt SCRIPT or --python INTERPRETER")
    return own


def find_all() -> Iterator[Installation | KePromptUnusable]:
    """Every KePrompt on PATH and in keledger's own environment, or what is wrong with it."""
    seen = set()
    for folder in os.get_exec_path():
        script = shutil.which("keprompt", path=folder)
        if script is None:
            continue
        try:
            interpreter = interpreter_of(script)
            if interpreter not in seen:
                seen.add(interpreter)
                yield examine(interpreter)
        except KePromptUnusable as error:
            yield error
    if sys.executable not in seen:
        own = examine(sys.executable)
        if own.version is not None:
            yield own


def enable(installation: Installation, *, statements: bool = False) -> Installation:
    """Write the ``.pth`` file, whole or not at all; with *statements* prompts may hold ``.budget`` and ``.cost_check``.

    Raises KePromptUnusable.
    """
    place = installation.interpreter
    if installation.version is None:
        raise KePromptUnusable(f"{place} has no keprompt: give the interpreter that runs it as --python")
    if _version(installation.python) < (3, 10):
        raise KePromptUnusable(f"{place} is Python {installation.python}: keprompt is watched from 3.10 on")
    if not installation.fits:
        raise KePromptUnusable(
            f"keprompt {installation.version} of {place} calls models in a way that this keledger does not know: "
            "look for a newer keledger"
        )
    temporary = installation.pth.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_text(pth_text(_HERE / "client.py", sys.executable, statements), encoding="ascii")
        temporary.replace(installation.pth)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise KePromptUnusable(
            f"{installation.pth} cannot be written: {error.strerror}; use `keledger run -- keprompt …` instead"
        ) from None
    return examine(place)


def disable(installation: Installation) -> Installation:
    """Remove the ``.pth`` file where there is one.  Raises KePromptUnusable."""
    try:
        installation.pth.unlink(missing_ok=True)
    except OSError as error:
        raise KePromptUnusable(f"{installation.pth} cannot be removed: {error.strerror}") from None
    return examine(installation.interpreter)


def examine(interpreter: str) -> Installation:
    """Ask an interpreter what it holds.  Raises KePromptUnusable where it cannot answer."""
    try:
        answer = subprocess.run(
            [interpreter, str(_HERE / "_probe.py")],
            capture_output=True, text=True, timeout=PROBE_WAIT_S, check=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        found = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise KePromptUnusable(f"{interpreter} does not run as a Python: {_last_line(error)}") from None
    pth = Path(found["site_folder"]) / PTH_NAME
    fits = found.get("request_parameters") == REQUEST_PARAMETERS
    return Installation(interpreter, found["python"], found["version"], fits, pth, *_read_pth(pth))


def interpreter_of(script: str) -> str:
    """The interpreter that runs a script, from its first lines.  Raises KePromptUnusable.

    Besides plain ``#!/path/to/python`` there are ``#!/usr/bin/env python3``, and, where the path is too long for
    the kernel or has a space in it, a shell that hands the script on to the interpreter with ``exec``.
    """
    try:
        with open(script, encoding="utf-8", errors="replace") as file:
            lines = [file.readline(4096) for _ in range(TRAMPOLINE_LINES)]
    except OSError as error:
        raise KePromptUnusable(f"{script} cannot be read: {error.strerror}") from None
    words = lines[0][2:].split() if lines[0].startswith("#!") else []
    program = Path(words[0]).name if words else ""
    if program == "env":
        named = next((word for word in words[1:] if not word.startswith("-") and "=" not in word), "")
        return _executable(named)
    if program in ("sh", "bash", "dash"):
        handed_on = _handed_on_to(script, lines[1:])
        if handed_on is not None:
            return _executable(handed_on)
    elif "python" in program or "pypy" in program:
        return _executable(lines[0][2:].strip() if len(words) == 1 else words[0])
    raise KePromptUnusable(f"{script} does not say which Python runs it: give that one as --python")


def _handed_on_to(script: str, lines: list[str]) -> str | None:
    for line in lines:
        match = re.match(r"""\s*(?:'''exec'|exec)\s+(.+)\s+"\$0"\s+"\$@"$""", line)
        if match is None:
            continue
        target = match[1]
        if "dirname" in target:  # relocatable: a name beside the script itself
            name = re.search(r"/'?\"?([^/'\"]+)'?\"?$", target)
            return str(Path(script).resolve().parent / name[1]) if name else None
        return target.strip("'\"")
    return None


def pth_text(client_file: Path, helper: str, statements: bool = False) -> str:
    """The file's text: what it belongs to, as a comment for :func:`examine`, and the bootstrap as one line."""
    tree = ast.parse((_HERE / "on_path" / "_keledger_bootstrap.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            del node.body[0]
    code = f"{ast.unparse(tree)}\ninstall({str(client_file)!r}, {helper!r}, {statements!r})\n"
    about = json.dumps({"client": str(client_file), "keledger": helper, "statements": statements})
    return f"# {about}\nimport sys; exec({code!a}, {{'__name__': '_keledger_bootstrap'}})\n"


def _read_pth(path: Path) -> tuple[str | None, bool, bool]:
    """The interpreter that a ``.pth`` file starts (None without one), if all is there, and ``statements``."""
    try:
        about: Any = json.loads(path.read_text(encoding="ascii").partition("\n")[0].lstrip("# "))
        parts = [about["client"], about["keledger"]]
    except FileNotFoundError:
        return None, False, False
    except (OSError, ValueError, KeyError, TypeError):
        return "unreadable", False, False
    return parts[1], all(Path(part).exists() for part in parts), about.get("statements") is True


def _executable(name: str) -> str:
    found = shutil.which(os.path.expanduser(name)) if name else None
    if found is None:
        raise KePromptUnusable(f"the interpreter {name or '(none)'} is not there or not executable")
    return os.path.abspath(found)


def _version(python: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", python)[:2])


def _last_line(error: Exception) -> str:
    text = str(getattr(error, "stderr", None) or getattr(error, "strerror", None) or error).strip()
    return text.splitlines()[-1] if text else type(error).__name__
