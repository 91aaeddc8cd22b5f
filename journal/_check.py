"""One thing that ``doctor`` looked at: how it is, and what to do where it is not well."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Literal

from ._errors import KeledgerError
from ._home import remedy

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, by *name*; several checks may bear one name.

    A ``note`` is worth knowing, and nothing breaks for it; a ``problem`` does, or will.  *remedy* is there for every
    problem: a sentence without a full stop, as *message* is.
    """

    name: str
    state: State
    message: str
    remedy: str | None = None

    @property
    def sentence(self) -> str:
        """The message and what to do, in one line."""
        return _readable(self.message if self.remedy is None else f"{self.message}: {self.remedy}")

    def as_json(self) -> dict[str, str | None]:
        """The check for a report."""
        remedy = None if self.remedy is None else _readable(self.remedy)
        return {"name": self.name, "state": self.state, "message": _readable(self.message), "remedy": remedy}


def _readable(text: str) -> str:
    """Valid Unicode: names of files need not be UTF-8, and bytes of theirs that are not come as lone surrogates."""
    return text.encode(errors="backslashreplace").decode()


def ok(name: str, message: str) -> Check:
    """A check that found nothing to complain of."""
    return Check(name, "ok", message)


def note(name: str, message: str, remedy: str | None = None) -> Check:
    """A check that found something worth knowing."""
    return Check(name, "note", message, remedy)


def problem(name: str, message: str, remedy: str) -> Check:
    """A check that found what must be mended."""
    return Check(name, "problem", message, remedy)


def failed(name: str, error: Exception) -> Check:
    """What an error means for a check.  Errors of keledger say what to do, or end with what the system said."""
    cause = error if isinstance(error, OSError) else error.__context__
    if isinstance(error, KeledgerError) and not _ends_with(error, cause):
        message, _, what_to_do = str(error).rpartition(": ")
        return problem(name, message or what_to_do, what_to_do if message else "run keledger verify")
    if isinstance(cause, OSError):
        message = str(error) if isinstance(error, KeledgerError) else f"{cause.filename or name}: {cause.strerror}"
        return problem(name, message, _access(cause) or remedy(cause))
    # Without its text, which may quote what was read.
    return problem(name, f"this check itself failed ({type(error).__name__})", "look for a newer keledger")


def _ends_with(error: KeledgerError, cause: BaseException | None) -> bool:
    return isinstance(cause, OSError) and cause.strerror is not None and str(error).endswith(cause.strerror)


def _access(error: OSError) -> str | None:
    """What helps against a lack of permission, where one only wants to read."""
    if error.errno not in (errno.EACCES, errno.EPERM):
        return None
    return "give yourself access to it (chmod u+rwX), or set KELEDGER_HOME to a folder of your own"
