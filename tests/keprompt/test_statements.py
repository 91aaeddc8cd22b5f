"""``.budget`` and ``.cost_check`` in prompt files: only where they are turned on, and what they are elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from keledger.journal import Ledger
from keledger.journal.budgets import budget_fields
from keledger.journal.capture import enable, find

from .support import VERSIONS, Stage, own_venv, write_lines

TINY = "0.000001"


@pytest.mark.parametrize("version", VERSIONS)
def test_budget_limits_the_session_from_there_on(stage_of: Callable[[str], Stage], version: str) -> None:
    stage = stage_of(version)
    write_lines(stage.workspace, f".budget {TINY}\n")
    ended = stage.run(stage.watched(stage.chat("hello"), "--statements"))
    assert (ended.returncode, stage.provider.asked) == (1, [])
    assert "keledger: call refused: the session's budget says no: of $0.000001" in ended.stderr
    write_lines(stage.workspace, ".set limit 5\n.budget <<limit>>\n")
    ended = stage.run(stage.watched(stage.chat("hello"), "--statements"))
    assert ended.returncode == 0, ended.stderr
    assert (
        stage.run(stage.watched(stage.reply(json.loads(ended.stdout)["chat_id"], "x"), "--statements")).returncode == 0
    )
    assert [request.text for request in stage.provider.asked] == ["hello", "x"]


def test_a_budget_that_is_none_ends_the_prompt_before_anything_is_sent(stage: Stage) -> None:
    write_lines(stage.workspace, ".budget much\n")
    ended = stage.run(stage.watched(stage.chat("hello"), "--statements"))
    assert (ended.returncode, stage.provider.asked) == (1, [])
    assert ended.stderr.splitlines()[0].startswith("keledger: .budget: 'much' is no limit: ")


@pytest.mark.parametrize("version", VERSIONS)
def test_cost_check_tells_what_is_left(stage_of: Callable[[str], Stage], version: str) -> None:
    stage = stage_of(version)
    write_lines(stage.workspace, ".budget 2\n.cost_check\n", behind=".cost_check\n.exit\n")
    ended = stage.run(stage.watched(stage.chat("hello"), "--statements", "--budget", "1"))
    assert ended.returncode == 0, ended.stderr
    before, after = ended.stderr.splitlines()[:2], ended.stderr.splitlines()[2:4]
    assert before == [
        "keledger: this run: $0.00 spent, $0.00 held, $1.00 left of $1.00",
        "keledger: this session: $0.00 spent, $0.00 held, $2.00 left of $2.00",
    ]
    assert after == [
        "keledger: this run: $0.0003757 spent, $0.00 held, $0.9996243 left of $1.00",
        "keledger: this session: $0.0003757 spent, $0.00 held, $1.9996243 left of $2.00",
    ]
    assert [request.text for request in stage.provider.asked] == ["hello"]


def test_they_are_text_where_nobody_turned_them_on(stage: Stage) -> None:
    write_lines(stage.workspace, behind=f".user hello\n.budget {TINY}\n.cost_check\n.exec\n")
    ended = stage.run(stage.watched(stage.chat("hello")))
    assert ended.returncode == 0, ended.stderr
    assert stage.provider.asked[-1].text == f"hello\n.budget {TINY}\n.cost_check"


def test_a_chat_that_holds_one_cannot_go_on_without_them(stage: Stage) -> None:
    write_lines(stage.workspace, ".budget 2\n")
    chat_id = json.loads(stage.run(stage.watched(stage.chat("hello"), "--statements")).stdout)["chat_id"]
    assert stage.run(stage.watched(stage.reply(chat_id, "and now?"))).returncode == 1
    assert stage.run(stage.watched(stage.reply(chat_id, "and now?"), "--statements")).returncode == 0


def test_an_environment_can_have_them_on(stage: Stage) -> None:
    stage.keprompt = own_venv(stage.folder / "venv", stage.keprompt)
    enabled = enable(find(str(stage.keprompt)), statements=True)
    assert enabled.statements
    write_lines(stage.workspace, behind=f".user again\n.budget {TINY}\n.exec\n")
    for command in (stage.chat("hello"), stage.watched(stage.chat("hello"))):
        ended = stage.run(command)
        assert (ended.returncode, [request.text for request in stage.provider.asked]) == (1, ["hello"])
        stage.provider.asked.clear()
        assert re.search(r"^keledger: call refused: the session's budget", ended.stderr, re.MULTILINE)
    assert not enable(enabled).statements
    assert stage.run(stage.chat("hello")).returncode == 0
    assert [request.text for request in stage.provider.asked] == ["hello", f"again\n.budget {TINY}"]


def test_cost_check_tells_of_each_budget_that_covers_the_next_call(stage: Stage) -> None:
    with Ledger.open(stage.home.path) as ledger:
        for name, where in (("crm", ["project=crm", "user=*"]), ("sales", ["project=sales"])):
            ledger.budgets.set(budget_fields(name, limit="5", period="month", where=where))
        ledger.budgets.set(budget_fields("lately", limit="5", period="rolling:7d"))
    write_lines(stage.workspace, ".cost_check\n")
    ended = stage.run(stage.watched(stage.chat("hello"), "--statements", "--project", "crm", "--user", "ada"))
    assert ended.returncode == 0, ended.stderr
    session, *budgets = sorted(ended.stderr.splitlines()[:3], reverse=True)
    assert session == "keledger: this session: $0.00 spent, $0.00 held"
    assert budgets[0] == "keledger: budget lately (rolling:7d): $0.00 spent, $0.00 held, $5.00 left of $5.00"
    assert re.fullmatch(
        r"keledger: budget crm \(month, user ada\): \$0.00 spent, \$0.00 held, \$5.00 left of \$5.00 "
        r"until 2\d\d\d-\d\d-01 00:00 UTC",
        budgets[1],
    )
    assert "budget sales" not in ended.stderr
