"""The statements ``.budget 1.00`` and ``.cost_check`` of prompt files, where the user has turned them on.

Loaded by path beside ``client.py``, by its rules.  A KePrompt without keledger does not know these statements:
it takes them for text of the prompt and sends them to the model.  So nothing turns them on but ``--statements``.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


def add_when_loaded(client: Any) -> None:
    """Teach KePrompt's machine the statements as soon as its module has been executed, before a prompt is read.

    *client* is the module of the client file, which speaks to keledger.
    """
    client.when_loaded(client.MACHINE_MODULE, lambda module: add_to(module, client))


def add_to(module: Any, client: Any) -> None:
    """Teach KePrompt's machine the statements."""
    known = getattr(module, "StatementTypes", None)
    statement = getattr(module, "StmtPrompt", None)
    if not isinstance(known, dict) or not isinstance(statement, type):
        client.say(
            f"{client.client_name()} reads prompts in a way that this keledger does not know: .budget and .cost_check "
            "stay text of the prompt, which is sent to the model"
        )
        return
    limit_usd = client.beside("declared").limit_usd

    class Budget(statement):  # type: ignore[misc, valid-type]
        """``.budget 1.00``: what the session may cost from here on."""

        def execute(self, vm: Any) -> None:
            super().execute(vm)
            try:
                limit = limit_usd(vm.substitute(self.value))
            except ValueError as error:
                client.say(f".budget: {error}")
                raise module.StmtSyntaxError(f".budget: {error}") from None
            vm.set_variable("keledger_budget", limit)  # kept with the chat, and stronger than what the prompt says

    class CostCheck(statement):  # type: ignore[misc, valid-type]
        """``.cost_check``: tell what has been spent, is held and is left."""

        def execute(self, vm: Any) -> None:
            super().execute(vm)
            check_cost(vm, client)

    known.setdefault(".budget", Budget)
    known.setdefault(".cost_check", CostCheck)


def check_cost(machine: Any, client: Any) -> None:
    """Tell on stderr what the session, the run, and each budget that covers the next call have left."""
    facts = client.begin_facts(SimpleNamespace(prompt=machine.prompt), {}, "cost_check")
    for name in ("client_call_id", "call_keys"):
        facts.pop(name, None)
    if not facts.get("provider"):  # before the first .exec the machine itself does not know
        provider, _, model = str(machine.vdict.get("model", "")).partition("/")
        facts.update({"provider": provider, "model": model} if model else {})
    try:
        declared = client.declared_limits(machine)
    except client.CallRefused:
        declared = []  # the next call is refused for it, and says so
    limited = {each["scope"] for each in declared}
    if "session" not in limited:  # what it has spent is told all the same
        declared = [{"scope": "session", "limit_usd": str(client.beside("declared").LIMIT_USD_MAX)}, *declared]
    rows = client.line.covers({**facts, "declared": declared})
    if rows is None:
        client.say(".cost_check: keledger does not answer")
    for row in rows or ():
        client.say(told(row, limited=not row.get("declared") or row["declared"] in limited))


def told(row: dict[str, Any], *, limited: bool = True) -> str:
    """One row of ``covers`` as a line."""
    line = f"{_subject(row)}: {dollars(row['spent_usd'])} spent, {dollars(row['held_usd'])} held"
    if limited:
        line += f", {dollars(row['left_usd'])} left of {dollars(row['limit_usd'])}"
    resets_at = row.get("resets_at")
    if resets_at and not row["period"].startswith("rolling"):  # which loses the oldest hour at every hour
        line += f" until {resets_at[:10]} {resets_at[11:16]} UTC"
    return line


def _subject(row: dict[str, Any]) -> str:
    if row.get("declared"):
        return f"this {row['declared']}"
    group = "".join(f", {each['column']} {each.get('value', 'none')}" for each in row.get("group") or ())
    return f"budget {row['name']} ({row['period']}{group})"


def dollars(amount: str) -> str:
    """Exact money for people: at least two decimals."""
    whole, _, fraction = amount.partition(".")
    return f"${whole}.{fraction.ljust(2, '0')}".replace("$-", "-$")
