"""Whose call it is: from prompt, command line, environment and folder; the nearer to the call, the stronger."""

from __future__ import annotations

from .support import Stage, write_prompt


def test_each_place_yields_to_the_one_nearer_to_the_call(stage: Stage) -> None:
    (stage.workspace / "keledger.toml").write_text(
        'project = "of-folder"\nteam = "of-folder"\nuser = "of-folder"\ncost_center = "of-folder"\n'
    )
    places = {
        "KELEDGER_PROJECT": "of-environment",
        "KELEDGER_TEAM": "of-environment",
        "KELEDGER_USER": "of-environment",
    }
    options = ["--project", "of-flags", "--team=of-flags"]
    write_prompt(stage.workspace, '{"project":"of-prompt","tags":{"from":"prompt","of":"prompt"}}')
    stage.run(stage.watched(stage.chat("hello"), *options, "--tag", "from=flags", "--tag", "run=1"), **places)
    stage.run(stage.watched(stage.chat("hello", "keledger_project=of-set", "keledger_tags=of=set"), *options), **places)
    first, second = stage.calls()
    assert (first["project"], first["team"], first["user"], first["cost_center"]) == (
        "of-prompt", "of-flags", "of-environment", "of-folder",
    )  # fmt: skip
    assert first["tags"] == {"from": "prompt", "of": "prompt", "run": "1"}
    assert second["project"] == "of-set"
    assert second["tags"] == {"of": "set"}


def test_a_reply_keeps_what_its_chat_said(stage: Stage) -> None:
    write_prompt(stage.workspace, '{"team":"sales"}')
    stage.run(stage.watched(stage.chat("hello", "keledger_project=crm")))
    [first] = stage.calls()
    stage.run(stage.watched(stage.reply(first["session"], "and now?")))
    assert [(call["project"], call["team"]) for call in stage.calls()] == [("crm", "sales")] * 2


def test_what_makes_no_sense_costs_no_call(stage: Stage) -> None:
    write_prompt(stage.workspace, '{"team":["a","list"],"tags":"no-equals","project":7,"budget":1.0}')
    stage.run(stage.watched(stage.chat("hello")))
    [call] = stage.calls()
    assert call["project"] == "7"
    assert "tags" not in call
