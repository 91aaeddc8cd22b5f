"""``"model":"auto"`` in real KePrompts: which model the provider is asked for, and what the journal says of why."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from keledger.journal.capture import enable, find

from .support import NEWEST, PRICES_OF_KEPROMPT, PRIVATE, VERSIONS, Stage, events_of, own_venv
from .terminal import Terminal
from .test_confirmation import LOW, answers, estimates, keledgers_words

MODELS = {
    "gpt-5-nano": "openai",
    "gpt-5-mini": "openai",
    "gpt-5.1": "openai",
    "o3-mini": "openai",
    "claude-haiku-4-5": "anthropic",
    "claude-opus-4-5": "anthropic",
    "gemini/gemini-2.5-flash": "gemini",
}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
IN_PARAMS = '"params":{"model":"auto","max_cost":0.10,"quality":"high"}'


def write_auto(stage: Stage, params: str = "", lines: str = "", execute: str = ".exec", system: str = "") -> None:
    """The prompt ``ask`` with its model to be chosen, among the models of this file."""
    models = {
        name: {"litellm_provider": provider, "mode": "chat", **PRICES_OF_KEPROMPT} for name, provider in MODELS.items()
    }
    functions = stage.workspace / "prompts" / "functions"
    (functions / "model_prices_and_context_window.json").write_text(json.dumps(models))
    head = ", ".join(part for part in ('.prompt "name":"Ask", "version":"2.0.1"', params) if part)
    text = f"{head}\n{lines}{system}.user <<ask>>\n{execute}\n"
    (stage.workspace / "prompts" / "ask.prompt").write_text(text)


def choices(stage: Stage) -> list[dict[str, Any]]:
    return [event for event in events_of(stage.home) if event["type"] == "model.chosen"]


def asked_models(stage: Stage) -> list[str]:
    return [request.model for request in stage.provider.asked]


FORMS = {
    "params": (IN_PARAMS, "", ".exec"),
    "set": ("", ".set model auto\n.set max_cost 0.10\n.set quality high\n", ".exec"),
    "exec": ("", "", '.exec {"model":"auto","max_cost":0.10,"quality":"high"}'),
    "exec below params": (
        '"params":{"model":"openai/gpt-5-mini"}', "", '.exec {"model":"auto","max_cost":"0.10","quality":"high"}',
    ),
}  # fmt: skip

CASES = [*((NEWEST, form) for form in FORMS), *((version, "params") for version in VERSIONS if version != NEWEST)]


@pytest.mark.parametrize(("version", "form"), CASES)
def test_each_form_chooses_and_journals_why(stage_of: Callable[[str], Stage], version: str, form: str) -> None:
    stage = stage_of(version)
    write_auto(stage, *FORMS[form])
    ended = stage.run(stage.watched(stage.chat(f"hello {PRIVATE}")))
    assert ended.returncode == 0, ended.stderr
    [choice] = choices(stage)
    [call] = stage.calls()
    assert [choice["model"]] == [call["model"]] == asked_models(stage)
    assert (choice["provider"], choice["session"], choice["run"]) == (call["provider"], call["session"], call["run"])
    assert choice["prompt"] == "Ask"
    assert (choice["requirements"]["quality"], choice["requirements"]["max_cost_usd"]) == ("high", "0.1")
    assert choice["requirements"]["basis"] == "request"
    assert {"provider": choice["provider"], "model": choice["model"]}.items() <= choice["suitable"][0].items()
    costs = [float(each["cost_p50_usd"]) for each in choice["suitable"]]
    assert costs == sorted(costs)
    assert choice["left_out"]
    assert all(each["reason"] for each in choice["left_out"])
    said = keledgers_words(ended.stderr)[0]
    assert said.startswith(f'keledger: "model":"auto": {choice["provider"]}/')
    assert json.loads(ended.stdout)["success"] is True
    stage.check_against_provider()
    for path in stage.home.path.rglob("*"):
        assert not path.is_file() or PRIVATE not in path.read_bytes().decode("utf-8", "replace")


@pytest.mark.parametrize(("version", "form"), CASES)
def test_without_keledger_keprompt_says_so_itself(stage_of: Callable[[str], Stage], version: str, form: str) -> None:
    stage = stage_of(version)
    write_auto(stage, *FORMS[form])
    ended = stage.run(stage.chat("hello"))
    assert ended.returncode == 1
    assert "Model auto is not defined" in json.loads(ended.stdout)["error"]
    assert stage.provider.asked == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_choice_stays_with_its_chat(stage_of: Callable[[str], Stage], version: str) -> None:
    stage = stage_of(version)
    write_auto(stage, IN_PARAMS)
    first = stage.run(stage.watched(stage.chat("tool")))
    chat_id = json.loads(first.stdout)["chat_id"]
    for number in range(2):
        ended = stage.run(stage.watched(stage.reply(chat_id, f"and {number}?")))
        assert ended.returncode == 0, ended.stderr
    assert len(choices(stage)) == 1
    assert len(set(asked_models(stage))) == 1
    assert len(asked_models(stage)) >= 3


def test_two_statements_that_ask_each_get_a_choice(stage: Stage) -> None:
    cheap, good = '.exec {"model":"auto"}', '.exec {"model":"auto","quality":"high"}'
    write_auto(stage, execute=f"{cheap}\n.user more\n{good}")
    ended = stage.run(stage.watched(stage.chat("hello")))
    assert ended.returncode == 0, ended.stderr
    first, second = choices(stage)
    assert "quality" not in first["requirements"]
    assert asked_models(stage) == [first["model"], second["model"]]
    assert first["statement"] != second["statement"]
    assert second["requirements"]["input_tokens"] > first["requirements"]["input_tokens"]


def test_tools_and_images_are_needed_where_they_are_used(stage: Stage) -> None:
    (stage.workspace / "pixel.png").write_bytes(PIXEL)
    write_auto(stage, '"params":{"model":"auto"}', ".functions get_weather\n", system=".image pixel.png\n")
    ended = stage.run(stage.watched(stage.chat("hello")))
    assert ended.returncode == 0, ended.stderr
    [choice] = choices(stage)
    assert choice["requirements"]["needs"] == ["tools", "vision"]
    left = {each["model"]: each["reason"] for each in choice["left_out"]}
    assert "it sees no images" in left["o3-mini"]


def test_more_can_be_needed_than_can_be_seen(stage: Stage) -> None:
    write_auto(stage, '"params":{"model":"auto","needs":["vision"]}')
    assert stage.run(stage.watched(stage.chat("hello"))).returncode == 0
    assert stage.run(stage.watched(stage.chat("hello", "--set", "needs=tools, vision"))).returncode == 0
    assert [choice["requirements"]["needs"] for choice in choices(stage)] == [["vision"], ["tools", "vision"]]


def test_a_provider_without_a_key_is_not_offered(stage: Stage) -> None:
    write_auto(stage, '"params":{"model":"auto"}')
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY"):
        del stage.environment[name]
    estimated = stage.run(stage.watched(stage.chat("hello"), "--estimate"))
    assert estimated.returncode == 0, estimated.stderr
    assert choices(stage) == []
    assert stage.run(stage.watched(stage.chat("hello"))).returncode == 0
    [choice] = choices(stage)
    assert choice["provider"] == "anthropic"
    offered = {each["provider"] for each in (*choice["suitable"], *choice["left_out"])}
    assert offered == {"anthropic"}
    [row] = json.loads(estimated.stdout)["rows"]
    assert row["model"] == choice["model"]
    assert estimated.stderr.startswith('keledger: "model":"auto": anthropic/')
    assert stage.run(stage.watched(stage.chat("hello")), ANTHROPIC_API_KEY="").returncode == 1
    told = stage.run(stage.watched(stage.chat("hello"), "--estimate"), ANTHROPIC_API_KEY="")
    assert told.returncode == 0, told.stderr


def test_what_the_prompt_took_before_is_what_is_expected(stage: Stage) -> None:
    write_auto(stage, '"params":{"model":"auto"}')
    for _ in range(3):
        assert stage.run(stage.watched(stage.chat("hello"))).returncode == 0
    last = choices(stage)[-1]["requirements"]
    assert (last["basis"], last["calls"]) == ("prompt", 2)


def test_the_homes_own_word_on_models_counts(stage: Stage) -> None:
    write_auto(stage, '"params":{"model":"auto"}')
    assert stage.run(stage.watched(stage.chat("hello"))).returncode == 0
    [first] = choices(stage)
    name = f"{first['provider']}/{first['model']}"
    stage.home.config.write_text(f'[models."{name}"]\nuse = false\n')
    stage.home.config.chmod(0o600)
    ended = stage.run(stage.watched(stage.chat("hello")))
    assert ended.returncode == 0, ended.stderr
    second = choices(stage)[-1]
    assert second["model"] != first["model"]
    reasons = {each["model"]: each["reason"] for each in second["left_out"]}
    assert "your config.toml says not to use it" in reasons[first["model"]]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ('"max_cost":0.000000001', "no model meets what is asked; "),
        ('"max_cost":"much"', "'much' is no cost limit"),
        ('"max_cost":-1', "-1 is no cost limit"),
        ('"max_cost":NaN', "is no cost limit"),
        ('"max_cost":true', "True is no cost limit"),
        ('"max_cost":{"usd":1}', "is no cost limit"),
        ('"quality":"excellent"', "'excellent' is no quality: write one of "),
        ('"quality":["high"]', "is no quality"),
        ('"needs":"wings"', "'wings' is no capability"),
    ],
)
def test_what_cannot_be_met_is_one_clear_sentence(stage: Stage, asked: str, said: str) -> None:
    write_auto(stage, f'"params":{{"model":"auto",{asked}}}')
    ended = stage.run(stage.watched(stage.chat(PRIVATE)))
    assert ended.returncode == 1
    error = json.loads(ended.stdout)["error"]
    assert '"model":"auto": ' in error
    assert said in error
    assert "\n" not in error
    assert PRIVATE not in error
    assert (stage.provider.asked, choices(stage)) == ([], [])


def test_no_model_at_all_and_no_keledger_at_all(stage: Stage) -> None:
    write_auto(stage, '"params":{"model":"auto"}')
    models = stage.workspace / "prompts" / "functions" / "model_prices_and_context_window.json"
    models.write_text('{"gpt-nobody-knows":{"litellm_provider":"openai","mode":"chat"}}')
    ended = stage.run(stage.watched(stage.chat("hello")))
    assert "no model is offered that has a price here" in json.loads(ended.stdout)["error"]
    script = stage.keprompt = own_venv(stage.folder / "venv", stage.keprompt)
    installed = enable(find(str(script)))
    text = installed.pth.read_text()
    installed.pth.write_text(text.replace(sys.executable, "/nowhere/python"))
    ended = stage.run(stage.chat("hello"))
    assert ended.returncode == 1
    assert "keledger does not answer" in json.loads(ended.stdout)["error"]
    assert stage.provider.asked == []


def test_with_the_helper(stage: Stage) -> None:
    write_auto(stage, IN_PARAMS)
    stage.keprompt = own_venv(stage.folder / "venv", stage.keprompt)
    enable(find(str(stage.keprompt)))
    ended = stage.run(stage.chat("tool"))
    assert ended.returncode == 0, ended.stderr
    [choice] = choices(stage)
    assert set(asked_models(stage)) == {choice["model"]}


def test_a_choice_is_confirmed_and_held_as_any_call(stage: Stage) -> None:
    write_auto(stage, IN_PARAMS)
    with Terminal(stage) as terminal:
        command = stage.watched(stage.chat("hello"), "--confirm-above", LOW, "--budget", "1.00")
        status, _, errors = terminal.run(command, "y\n")
        shown = terminal.look()
    assert status == 0, errors
    [choice], [told], [call] = choices(stage), estimates(stage.home), stage.calls()
    assert choice["model"] == told["model"] == call["model"]
    assert f"{choice['provider']}/{choice['model']}: " in shown
    assert answers(stage.home) == ["yes"]
    assert (call["estimate_id"], "hold_id" in call) == (told["id"], True)


def test_a_home_that_cannot_be_read_is_told(stage: Stage) -> None:
    write_auto(stage, IN_PARAMS)
    stage.home.path.write_text("a file, where the home belongs")
    ended = stage.run(stage.watched(stage.chat("hello")))
    assert (ended.returncode, stage.provider.asked) == (1, [])
    assert str(stage.home.path) in json.loads(ended.stdout)["error"]
