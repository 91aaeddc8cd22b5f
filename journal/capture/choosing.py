"""``"model":"auto"``: keledger chooses the model that a prompt is sent to, the cheapest that is good enough.

Loaded by path beside ``client.py``, by its rules, and only where a prompt asks for it.  KePrompt loads a model just
before a call, when all messages stand, so the choice is for this very request.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

AUTO = "auto"

ASKED = ("quality", "max_cost", "needs")
"""What a prompt may say of the model beside ``auto``: in the parameters of ``.prompt`` or ``.exec``, or by ``.set``."""

CHOICE_WAIT_S = 300.0
"""How long a choice is waited for: a first look at a long journal takes a minute."""


def chosen(machine: Any, params: dict[str, Any], module: Any, client: Any) -> dict[str, Any]:
    """The parameters with a model in the place of ``auto``, and without what was said of it.

    Raises KePrompt's own error of syntax where no model can be chosen: the chat is saved, and nothing is sent.
    """
    try:
        reply = client.line.choose(_question(machine, params, module, client), CHOICE_WAIT_S)
    except Exception as error:  # noqa: BLE001  without its text, which may quote the prompt
        problem = f"a fault of keledger's own ({type(error).__name__}) while it looked at the prompt: name a model"
        raise module.StmtSyntaxError(f'"model":"{AUTO}": {problem}') from None
    if reply is None:
        problem = "keledger does not answer, and nobody else can tell which model it is: name one"
    elif reply["type"] == "refuse":
        problem = str(reply.get("text"))
    else:
        client.say(str(reply["text"]))
        return {**{name: value for name, value in params.items() if name not in ASKED}, "model": reply["model"]}
    raise module.StmtSyntaxError(f'"model":"{AUTO}": {problem}')


def _question(machine: Any, params: dict[str, Any], module: Any, client: Any) -> dict[str, Any]:
    """What keledger is asked: what is to be sent, what a model must meet, and which there are."""
    asked = {}
    for name in ASKED:
        value = params.get(name, machine.vdict.get(name))
        if value is not None:
            asked[name] = value if isinstance(value, (str, int, list)) else str(value)  # as NaN, which JSON lacks
    request, needs = _request(machine, module)
    asked["needs"] = sorted({*_names(asked.get("needs")), *needs})
    offered = _offered(module)
    facts = client.begin_facts(SimpleNamespace(prompt=machine.prompt), {}, AUTO)
    for name in ("client_call_id", "call_keys", "provider", "model", "request"):
        facts.pop(name, None)
    return {"type": "choose", "begin": facts, "request": request, "asked": asked, "offered": offered}


def _names(given: Any) -> list[str]:
    """``tools,vision``, or a list of the same."""
    parts = given.split(",") if isinstance(given, str) else given if isinstance(given, list) else []
    return [str(part).strip() for part in parts if str(part).strip()]


def _offered(module: Any) -> list[str]:
    """The models that KePrompt knows, of the providers for which it has a key."""
    manager = module.ModelManager
    manager._load_all_models()
    models = {
        name: str(model.provider)
        for name, model in manager.models.items()
        if not getattr(model, "is_deprecated", bool)()  # before 2.15 KePrompt does not know
    }
    config = module.get_config()
    get_api_key = type(config).get_api_key
    real = getattr(get_api_key, "__wrapped__", get_api_key)  # where only an estimate is asked for, others stand in
    with_key = {provider for provider in set(models.values()) if real(config, provider)}
    if not with_key and real is not get_api_key:
        return list(models)
    return [name for name, provider in models.items() if provider in with_key]


def _request(machine: Any, module: Any) -> tuple[dict[str, Any], list[str]]:
    """What is to be sent, in the form of no provider in particular, and what a model must be able to do for it."""
    messages = machine.prompt.to_json()
    needs = set()
    for message in messages:
        for part in message["content"]:
            if part.get("type") == "tool":
                part.update(type="tool_use", input=part.pop("arguments", None))
            elif part.get("type") == "image_url":
                needs.add("vision")
    request: dict[str, Any] = {"messages": messages}
    allowed = getattr(machine, "allowed_functions", None) or ()
    functions = [each for each in module.FunctionSpace.functions.function_array if each.get("name") in allowed]
    if functions:
        needs.add("tools")
        request["tools"] = [{"type": "function", "function": each} for each in functions]
    return request, sorted(needs)
