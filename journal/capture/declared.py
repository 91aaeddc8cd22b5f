"""What a run and a prompt say of their own budgets: how much a run may cost, and how much a session.

Loaded by path beside ``client.py``, by its rules: the standard library alone, Python 3.10's syntax.  The command
line takes its ``--budget`` through here as well, so that an amount means the same wherever it stands.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, which takes the launcher longer to import than all that is needed here
if TYPE_CHECKING:
    from typing import Any

LIMIT_USD_MAX = 10**12
"""More than this is a slip of the finger, not a limit."""

DECIMALS_MAX = 12
"""As many as money has in the journal: one picodollar is the smallest amount."""

TEXT_CHARACTERS_MAX = 64
"""Longer text is no amount that anybody wrote."""


class WrongBudget(ValueError):
    """What stands for a budget is none.  The text is one clause that says where, and what belongs there."""


def limit_usd(value: object, *, or_zero: bool = False) -> str:
    """A limit in USD in the journal's one spelling (``0.5``).  Raises WrongBudget.

    *value* is text, or a number as JSON gives it; 0 is a limit only where that is said: to ask before every call that
    costs anything makes sense, to let none cost anything does not.
    """
    if isinstance(value, float) and value - value == 0:  # neither infinite nor NaN
        from decimal import Decimal

        text = f"{Decimal(repr(value)):f}"
    else:
        text = str(value).strip()
    whole, point, fraction = text.partition(".")
    plain = len(text) <= TEXT_CHARACTERS_MAX and all(
        part.isascii() and part.isdigit() for part in ((whole, fraction) if point else (whole,))
    )
    fraction = fraction.rstrip("0")
    pico = _pico(whole, fraction) if plain and len(fraction) <= DECIMALS_MAX else -1
    if not (0 if or_zero else 1) <= pico <= LIMIT_USD_MAX * 10**DECIMALS_MAX:
        least = "0 or more" if or_zero else "above 0"
        raise WrongBudget(
            f"{text[:40]!r} is no limit: give an amount in USD like 0.50, {least}, at most 10^12, with at most "
            f"{DECIMALS_MAX} decimals"
        )
    return f"{int(whole)}.{fraction}" if fraction else str(int(whole))


def tighter(one: object, other: object, *, or_zero: bool = False) -> object:
    """The smaller of two limits.  What is none stands, for whoever asks with it is told so."""
    try:
        limits = [limit_usd(each, or_zero=or_zero) for each in (one, other)]
        return min(limits, key=lambda limit: _pico(*limit.split(".")))
    except WrongBudget:
        return one


def declared(machine: Any, run_flags: Any) -> list[dict[str, str]]:
    """The limits under which a call is to be made, as ``[{"scope": "run" | "session", "limit_usd": "0.5"}]``.

    *machine* is KePrompt's, *run_flags* what ``keledger run`` left.  Raises WrongBudget for an amount that is none.
    """
    of_run = run_flags.get("budget") if isinstance(run_flags, dict) else None
    found = []
    for scope, place, value in (("run", "keledger run --budget", of_run), ("session", *_of_session(machine))):
        if value is None:
            continue
        try:
            found.append({"scope": scope, "limit_usd": limit_usd(value)})
        except WrongBudget as error:
            raise WrongBudget(f"{place}: {error}") from None
    return found


def _of_session(machine: Any) -> tuple[str, Any]:
    """Where the session's budget stands and what stands there; the nearer to the command line, the stronger."""
    variables = getattr(machine, "vdict", None)
    variables = variables if isinstance(variables, dict) else {}
    if variables.get("keledger_budget") is not None:
        return "keledger_budget", variables["keledger_budget"]
    of_prompt = variables.get("keledger")
    found = ('the prompt\'s "keledger":{"budget":…}', of_prompt.get("budget") if isinstance(of_prompt, dict) else None)
    comment = _of_comments(machine)
    if found[1] is None or comment[1] is None:
        return found if comment[1] is None else comment
    return comment if tighter(found[1], comment[1]) == limit_usd(comment[1]) else found


def _of_comments(machine: Any) -> tuple[str, Any]:
    """What the last ``.# keledger budget=1.00`` says that has been passed."""
    statements = getattr(machine, "statements", None) or []
    limit = None
    for statement in statements[: getattr(machine, "ip", len(statements))]:
        if statement.keyword == ".#":
            limit = _of_comment(str(statement.value)) or limit
    return ".# keledger budget", limit


def _of_comment(text: str) -> str | None:
    """The limit in one comment; None where it is just a comment.  A limit that is misspelt is not taken for one."""
    words = "=".join(part.strip() for part in text.split("=")).split()
    if words[:1] != ["keledger"] or not any("=" in word or word.startswith("budget") for word in words[1:2]):
        return None
    if len(words) != 2 or not words[1].startswith("budget="):
        raise WrongBudget(f".# {' '.join(words)[:60]}: write it as .# keledger budget=1.00")
    return words[1][len("budget=") :]


def _pico(whole: str, fraction: str = "") -> int:
    return int(whole + fraction.ljust(DECIMALS_MAX, "0"))
