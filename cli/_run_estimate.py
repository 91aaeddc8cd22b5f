"""``keledger run --estimate``: what the first call of a command would take and cost, and no call made.

The command runs up to there as it would: KePrompt itself renders the prompt.  It runs on a copy of its own database of
chats, so that none is left behind, and what it writes is shown only where it makes no call.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from keledger.journal import Ledger
from keledger.journal.capture import launch
from keledger.journal.estimates import Estimate, ManyEstimate, estimate_many
from keledger.projections import Estimator, subject_of

from ._book_asked import asked_model
from ._estimate_tables import show
from ._guard import guarded
from ._options import Settings
from ._run_request import Request, open_estimating, say

_SQLITE = "sqlite:///"
_MARKS = re.compile(r"\[/?[a-z_ ]*\]|[\u2500-\u257f]")

CHATS = "prompts/chats.db"
"""Where KePrompt keeps its chats, below the working folder, unless a variable names another database."""

DATABASE_VARIABLES = ("KEPROMPT_DATABASE_URL", "DATABASE_URL")

SETTINGS = ("~/.keprompt/config.toml", "keprompt.toml", ".keprompt.toml")
"""Where else KePrompt is told of another database; the first of these that is there and readable counts."""


def show_estimate(request: Request, home: str, *, models: Sequence[str] = (), calls: int | None = None) -> int:
    """Run the command up to its first call, and show what that would take and cost; returns the exit status.

    *models* are others to estimate the same request with, in the place of its own; *calls* is how many such calls.
    """
    problems: list[str] = []
    with tempfile.TemporaryFile() as output, _apart(problems):
        outcome = launch(
            request.command,
            home=home,
            flags=request.flags,
            say=problems.append,
            statements=request.statements,
            open_estimating=lambda: open_estimating(home),
            output=output.fileno(),
        )
        if not outcome.estimates:
            return _nothing(output, problems, outcome.status)
    for problem in problems:
        say(problem)
    begin, body, found = outcome.estimates[0]

    def shown() -> int:
        with Estimator.open(home) as estimator:
            subjects = [subject_of(begin)._replace(**_named(estimator, name)) for name in models]
            single = [estimator.estimate(body, subject) for subject in subjects] or [found]
            rows = single if calls is None else [estimate_many([row], calls) for row in single]
            ids = [_record(home, row, begin) for row in rows] if request.record else []
            show(Settings(home, request.json), rows, ids, estimator.projection)
        return 0

    return guarded(shown)


def _named(estimator: Estimator, name: str) -> dict[str, str]:
    """The provider and model of a name.  Raises NotFound."""
    provider, model = asked_model(estimator.projection, estimator.book, name)
    return {"provider": provider, "model": model}


def _record(home: str, row: Estimate | ManyEstimate, begin: Mapping[str, Any]) -> str:
    """Journal an estimate of the call that *begin* tells of; returns its id."""
    told = row.fields()
    named = {name: told[name] for name in ("provider", "model")}
    with Ledger.open(home) as ledger:
        return ledger.record_estimate(told, {**begin, **named, "origin": "command"}, for_call=False)


def _nothing(output: IO[bytes], problems: Sequence[str], status: int) -> int:
    """Where no call came to be estimated: why, as KePrompt or keledger tells it, else what the command wrote."""
    output.seek(0)
    written = output.read()
    for problem in problems:
        say(problem)
    envelope = _envelope(written.decode("utf-8", "replace"))
    if any(_refusal_of(problem) for problem in problems):
        return status or 1
    if envelope is None:
        sys.stderr.buffer.write(written)
        sys.stderr.flush()
    error = envelope.get("error") if envelope is not None else None
    why = _plain(error) if isinstance(error, str) and error else "the command ended without a call of a model"
    say(f"there is nothing to estimate: {why}")
    return status or 1


def _refusal_of(problem: str) -> bool:
    """Whether a sentence already says why the call came to nothing."""
    return problem.startswith("call refused: ")


def _envelope(written: str) -> dict[str, Any] | None:
    """KePrompt's envelope in what the command wrote; None where there is none."""
    start = written.find("\n{\n") + 1 if not written.startswith("{\n") else 0
    try:
        envelope, _ = json.JSONDecoder().raw_decode(written[start:])
    except ValueError:
        return None
    return envelope if isinstance(envelope, dict) and "success" in envelope else None


def _plain(text: str) -> str:
    """A sentence of KePrompt's on one line, without the marks by which it is coloured and framed."""
    return " ".join(_MARKS.sub(" ", text).split())


@contextmanager
def _apart(problems: list[str]) -> Iterator[None]:
    """An environment in which the command leaves no chat behind."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="keledger-estimate-") as folder:
        os.environ.pop("KELEDGER_SOCKET", None)  # an outer run has nothing to do with it
        _copy_chats(Path(folder, "chats.db"), problems)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _copy_chats(copy: Path, problems: list[str]) -> None:
    """Let KePrompt work on a copy of its chats, which a reply needs."""
    given = next((os.environ[name] for name in DATABASE_VARIABLES if os.environ.get(name)), None) or _set_database()
    if not given.startswith(_SQLITE):
        problems.append("KePrompt's database is no SQLite file, so this chat stays in it, as one that failed")
        return
    path = Path(given.removeprefix(_SQLITE))
    try:
        if path.exists():
            chats = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            with closing(chats), closing(sqlite3.connect(copy)) as target:
                chats.backup(target)
    except (sqlite3.Error, OSError) as error:
        problems.append(f"{path} cannot be copied ({error}), so this chat stays in it, as one that failed")
        return
    os.environ[DATABASE_VARIABLES[0]] = f"{_SQLITE}{copy}"


def _set_database() -> str:
    """The database that KePrompt's own settings name, as it reads them; else its default."""
    for place in SETTINGS:
        with suppress(OSError, ValueError):
            settings = tomllib.loads(Path(place).expanduser().read_text())
            database = settings.get("database")
            url = database.get("url") if isinstance(database, dict) else None
            return url if isinstance(url, str) and url else f"{_SQLITE}{CHATS}"
    return f"{_SQLITE}{CHATS}"
