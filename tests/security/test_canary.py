"""A private text sent along every path is found nowhere afterwards: not in the home, the spool, stderr, a traceback.

Each carrier has a text of its own, so that a failure names it.  What is documented to be kept (attributes, tags,
short strings of a usage object) is told another text, which must be there.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from keledger.cli.demo import Answer, LocalProvider, Request, ToolCall
from keledger.journal import Home, KeledgerError, Ledger, NewEvent
from keledger.journal import _limits as limits
from keledger.journal._calls import GIVEN_FIELDS
from keledger.journal._writer import Appender
from keledger.journal.capture._server import CallServer, Recorder
from keledger.journal.capture.client import encode
from tests.cli.support import keledger, keledger_process
from tests.journal.support import USAGE, call, calls
from tests.keprompt.support import NEWEST, Stage

from .support import CANARY, canary, files, sightings

KEPT = "documented-to-be-kept"

LONG = " and so on" * 20
"""Makes a string of a usage object longer than the 128 characters that are kept."""


def usage(**more: object) -> dict[str, object]:
    """A usage object with what no provider should put there."""
    return {
        **USAGE,
        "explanation": canary("-usage") + LONG,
        canary("-usage-key"): 3,
        "details": {
            canary("-nested-key"): "x",
            "list": [canary("-usage-list") + LONG],
            "text": canary("-nested") + LONG,
        },
        **more,
    }


REQUEST = {
    "model": "gpt-5-mini",
    "messages": [{"role": "user", "content": canary("-prompt")}],
    "tools": [{"type": "function", "function": {"name": "f", "description": canary("-tool")}}],
    "headers": {"Authorization": f"Bearer {canary('-header')}", "api-key": canary("-key")},
    "url": f"https://provider.example/v1?key={canary('-query')}",
    "service_tier": canary("-tier"),
}

RESPONSE = {
    "id": canary("-response-id"),
    "model": canary("-response-model"),
    "service_tier": canary("-answered-tier"),
    "choices": [
        {
            "finish_reason": canary("-finish"),
            "message": {
                "content": canary("-answer"),
                "tool_calls": [{"function": {"name": "f", "arguments": json.dumps({"to": canary("-arguments")})}}],
            },
        }
    ],
    "usage": usage(),
}


class ProviderError(Exception):
    """As SDKs raise them: all that was sent stands in the text."""

    status_code = 401
    body = canary("-error-body")

    def __init__(self) -> None:
        super().__init__(f"401 for {REQUEST['url']} with {REQUEST['headers']}: {canary('-error-text')}")


class Opaque:
    """An object that tells all it knows when it is shown."""

    def __repr__(self) -> str:
        return canary("-repr")


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in the environment, as every machine has them; and tracebacks, where keledger prints any."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "MY_SECRET"):
        monkeypatch.setenv(name, canary(f"-{name}"))
    monkeypatch.setenv("KELEDGER_DEBUG", "1")


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sockets, copies and scratch files would be left."""
    folder = tmp_path / "temporary"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def assert_nothing(home: Home, said: Mapping[str, str | bytes], *more: Path) -> None:
    """That the canary is in none of what was said, nor in the home, the user's folders and the temporary one."""
    user = home.path.parent / "user"
    places = {name: text.encode() if isinstance(text, str) else text for name, text in said.items()}
    assert sightings({**places, **files(home.path, user, home.path.parent / "temporary", *more)}) == []


def ask_everything(home: Home) -> dict[str, str]:
    """What every command says of a home, on stdout and stderr."""
    said = {}
    (call_id, *_) = [event["id"] for event in calls(home)] or ["0"]
    for arguments in (
        ("verify",), ("replay",), ("daily", "--breakdown"), ("sessions",), ("call", call_id), ("doctor",),
        ("export",), ("export", "--format", "csv"), ("export", "--events"), ("sql", "SELECT * FROM events"),
        ("sql", "SELECT CAST(data AS INTEGER) FROM events"), ("sql", "SELECT CAST(prompt AS INTEGER) FROM calls"),
        ("verify", "--pretty"), ("merge", str(home.path)), ("void", "nothing", "--reason", "a test"),
    ):  # fmt: skip
        outcome = keledger("--home", str(home.path), *arguments)
        said[" ".join(arguments)] = outcome.out + outcome.err
    return said


# The library


def _succeed(ledger: Ledger) -> None:
    with ledger.call(provider="openai", model="gpt-5-mini", prompt=KEPT, request=REQUEST) as one:
        one.complete(RESPONSE)


def _usage_alone(ledger: Ledger) -> None:
    with ledger.call(provider="openai", model="gpt-5-mini", prompt=KEPT, request=Opaque()) as one:
        one.complete(usage(prompt_tokens_details=Opaque()))


def _fail(ledger: Ledger) -> None:
    def send() -> None:
        try:
            raise ValueError(canary("-cause"))
        except ValueError as error:
            raise ProviderError from error

    one = ledger.call(provider="openai", model="gpt-5-mini", prompt=KEPT, request=REQUEST)
    with pytest.raises(ProviderError), one:
        send()


def _interrupt(ledger: Ledger) -> None:
    with pytest.raises(KeyboardInterrupt), ledger.call(provider="openai", model="gpt-5-mini", prompt=KEPT):
        raise KeyboardInterrupt(canary("-interrupt"))


def _get_an_error_body(ledger: Ledger) -> None:
    with ledger.call(provider="openai", model="gpt-5-mini", prompt=KEPT, request=REQUEST) as one:
        one.complete({"error": {"message": canary("-body"), "code": canary("-code")}, "usage": canary("-no-usage")})


def _get_an_object(ledger: Ledger) -> None:
    with ledger.call(provider="openai", model="gpt-5-mini", prompt=KEPT, request=REQUEST) as one:
        one.complete(Opaque())


def _fork(ledger: Ledger) -> None:
    with ledger.call(provider="openai", model="gpt-5-mini", prompt=KEPT, request=REQUEST) as one:
        child = os.fork()
        if child == 0:
            try:
                with ledger.call(provider="openai", model="gpt-5-mini", prompt=KEPT, request=REQUEST) as other:
                    other.complete(RESPONSE)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        one.complete(RESPONSE)


IN_THE_LIBRARY = (_succeed, _usage_alone, _fail, _interrupt, _get_an_error_body, _get_an_object, _fork)


@pytest.mark.parametrize("act", IN_THE_LIBRARY)
def test_the_library(home: Home, capfd: pytest.CaptureFixture[str], act: Callable[[Ledger], None]) -> None:
    with Ledger.open(home.path) as ledger:
        act(ledger)
    captured = capfd.readouterr()
    assert {event["data"]["prompt"] for event in calls(home)} == {KEPT}
    assert_nothing(home, {"stdout": captured.out, "stderr": captured.err, **ask_everything(home)})


@pytest.mark.parametrize("act", IN_THE_LIBRARY)
def test_a_library_whose_journal_is_locked(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], act: Callable[[Ledger], None]
) -> None:
    """The calls go to the spool, and from there into the journal."""
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
        monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.05)
        with Appender(home).locked():
            act(ledger)
    waiting = files(home.spool)
    assert any(KEPT.encode() in content for content in waiting.values())
    captured = capfd.readouterr()
    assert_nothing(home, {"stdout": captured.out, "stderr": captured.err})
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    assert list(home.spool.glob("*.json")) == []
    assert KEPT in {event["data"].get("prompt") for event in calls(home)}
    assert_nothing(home, ask_everything(home))


def test_a_call_for_which_there_is_no_room(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where even the spool cannot be written, the call is printed whole: nothing of it may be private."""
    home.spool.parent.mkdir(parents=True)
    home.spool.write_text("no folder")
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
        monkeypatch.setattr(limits, "LOCK_WAIT_S", 0.05)
        with Appender(home).locked():
            _succeed(ledger)
    captured = capfd.readouterr()
    assert KEPT in captured.err
    assert_nothing(home, {"stdout": captured.out, "stderr": captured.err})


# Recording finished calls

WRONG_VALUES: tuple[object, ...] = (
    canary("-value"),
    canary("-value") + LONG * 10,
    [canary("-list")],
    [[canary("-deep")]],
    {"a": canary("-object")},
    {"prompt_tokens": canary("-count")},
    {"output_text": canary("-bucket")},
    canary("-surrogate") + "\ud800",
    {"a": 1.5, "b": {"c": [canary("-deeper")]}},
)


def given_wrongly() -> Iterator[dict[str, Any]]:
    """Calls with a wrong value in each field in turn, with and without a usage object beside it."""
    plain = {"provider": "openai", "model": "gpt-5-mini"}
    for name in sorted(GIVEN_FIELDS):
        for value in WRONG_VALUES:
            yield {**call(), name: value}
            yield {**plain, name: value}


def test_what_is_refused_is_not_quoted(home: Home) -> None:
    """Names of fields, tags and buckets are told; their values never."""
    refused = []
    with Ledger.open(home.path) as ledger:
        for fields in given_wrongly():
            try:
                ledger.event_of(fields)
            except KeledgerError as error:
                refused.append(str(error).encode())
    assert len(refused) > 300
    assert [text for text in refused if sightings({"": text})] == []


BAD_LINES = (
    canary("-no-json").encode(),
    b'{"provider": "' + canary("-unclosed").encode(),
    b'{"provider": "' + CANARY.encode() + b'", }',
    b'{"provider": "' + CANARY.encode() + b'\xff"}',
    json.dumps([canary("-list")]).encode(),
    json.dumps(canary("-text")).encode(),
    json.dumps({"specversion": "1.0", "data": canary("-event")}).encode(),
    json.dumps({"provider": canary("-provider")}).encode(),
    json.dumps({**call(), "time": canary("-time")}).encode(),
    json.dumps({**call(), "messages": [{"content": canary("-messages")}]}).encode(),
    json.dumps({**call(), "response": RESPONSE}).encode(),
    json.dumps({**call(), "usage_raw": canary("-usage")}).encode(),
    json.dumps({**call(), "prompt": canary("-long") + LONG * 20}).encode(),
    json.dumps({**call(), "tags": {"env": [canary("-tag")]}}).encode(),
    b'{"provider":"openai","model":"' + CANARY.encode() + b'","usage":NaN}',
    b"[" * 100 + json.dumps(canary("-nested")).encode() + b"]" * 100,
    b'{"provider":"' + b"x" * limits.RECORD_LINE_BYTES_MAX + CANARY.encode() + b'"}',
)


@pytest.mark.parametrize("line", BAD_LINES, ids=range(len(BAD_LINES)))
def test_a_bad_line(home: Home, line: bytes) -> None:
    for options in ((), ("--partial",), ("--json",)):
        outcome = keledger("--home", str(home.path), "record", *options, given=line + b"\n")
        assert outcome.status == 1
        assert_nothing(home, {"stdout": outcome.out, "stderr": outcome.err})


def test_a_file_of_bad_lines(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_bytes(b"\n".join(BAD_LINES))
    outcome = keledger_process("--home", str(home.path), "record", str(file))
    assert outcome.status == 1
    assert_nothing(home, {"stdout": outcome.out, "stderr": outcome.err})


def test_a_good_line(home: Home) -> None:
    fields = {**call(usage_raw=usage(), prompt=KEPT), "tags": {"env": KEPT}}
    outcome = keledger("--home", str(home.path), "record", given=json.dumps(fields) + "\n")
    assert outcome.status == 0, outcome.err
    assert_nothing(home, {"stdout": outcome.out, "stderr": outcome.err, **ask_everything(home)})


def test_what_is_documented_to_be_kept(home: Home) -> None:
    with Ledger.open(home.path) as ledger:
        names = ("prompt", "session", "project", "user", "team", "cost_center", "finish_reason")
        ledger.record(
            **call(usage_raw={**USAGE, "tier": f"{KEPT} usage"}, **{name: f"{KEPT} {name}" for name in names})
        )
        ledger.record(**call(tags={"env": f"{KEPT} tag"}))
    journal = b"".join(content for content in files(home.journal).values())
    for what in (*names, "usage", "tag"):
        assert f"{KEPT} {what}".encode() in journal


# Configuration


BROKEN_CONFIGS = (
    'api_key = "{}',
    "api_key = {}",
    'api_key = "a" {}',
    "{}",
    "[a]\nb = \"x\\z {}\"",
    'a = 1\na = "{}"',
    'tags = "{}"',
    'team = ["{}"]',
)  # fmt: skip


@pytest.mark.parametrize("config", BROKEN_CONFIGS, ids=range(len(BROKEN_CONFIGS)))
@pytest.mark.parametrize("place", ["config.toml", "keledger.toml"])
def test_a_broken_configuration(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, place: str
) -> None:
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    folder = tmp_path / "work"
    folder.mkdir()
    file = home.config if place == "config.toml" else folder / "keledger.toml"
    file.write_text(config.format(CANARY))
    file.chmod(0o600)
    monkeypatch.chdir(folder)
    said = {}
    for arguments in (("record",), ("daily",), ("doctor",)):
        outcome = keledger("--home", str(home.path), *arguments, given=json.dumps(call(prompt=KEPT)))
        said[" ".join(arguments)] = outcome.out + outcome.err
    outcome = keledger_process("--home", str(home.path), "run", "--", sys.executable, "-c", "pass")
    said["run"] = outcome.out + outcome.err
    file.unlink()
    assert_nothing(home, said)


# The hook, with a real KePrompt


def answer(request: Request) -> Answer:
    """Private words in everything that a provider sends."""
    words = request.text
    if "tool" in words and request.tool_results == 0:
        return Answer(tool=ToolCall("get_weather", {"city": canary("-arguments")}))
    if "refused" in words:
        return Answer(status=401, body=json.dumps({"error": {"message": canary("-error"), "type": "x"}}).encode())
    if "odd" in words:
        return Answer(body=canary("-html").encode())
    if "usage" in words:
        message = {"role": "assistant", "content": canary("-answer")}
        body = {"id": canary("-id"), "model": canary("-model"), "usage": usage()}
        return Answer(body=json.dumps({**body, "choices": [{"message": message, "finish_reason": "stop"}]}).encode())
    return Answer(text=canary("-answer"))


@pytest.fixture
def private_stage(tmp_path: Path, keprompt_of: Callable[[str], Path]) -> Iterator[Stage]:
    with LocalProvider(answer) as provider:
        stage = Stage(tmp_path, provider, keprompt_of(NEWEST))
        names = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY")
        # Letters and digits: these go into headers and a URL, whose library would refuse anything else.
        stage.environment |= dict.fromkeys(names, CANARY)
        functions = stage.workspace / "prompts" / "functions" / "tools"
        functions.write_text(functions.read_text().replace("echo sunny", f"echo {CANARY}-result"))
        yield stage


def said_by_keledger(ended: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """KePrompt prints its own answers; the lines between them are ours, and a traceback of ours would be, too."""
    lines = [line for line in ended.stderr.splitlines() if "keledger" in line.lower()]
    return {"stderr": "\n".join(lines)}


ASKS = {
    "model=openai/gpt-5-mini": ("a tool", "be refused", "be odd", "with usage"),
    "model=gemini/gemini-2.5-flash": ("hello", "be refused"),  # its key stands in the URL
    "model=anthropic/claude-haiku-4-5": ("a tool",),
}


def test_a_keprompt(private_stage: Stage) -> None:
    stage, said = private_stage, {}
    for model, asks in ASKS.items():
        for ask in asks:
            ended = stage.run(stage.watched(stage.chat(f"{ask} {canary('-prompt')}", model, "keledger_team=kept-team")))
            said |= {f"{model} {ask} {name}": text for name, text in said_by_keledger(ended).items()}
    assert len(stage.calls()) == 9  # a tool takes two
    assert {event["team"] for event in stage.calls()} == {"kept-team"}
    assert_nothing(stage.home, {**said, **ask_everything(stage.home)})


@pytest.mark.parametrize("broken", ["lock", "home"])
def test_a_keprompt_whose_journal_is_broken(private_stage: Stage, broken: str) -> None:
    """Its calls wait in the spool, and are journaled later."""
    stage, said = private_stage, {}
    if broken == "lock":
        stage.home.path.mkdir(mode=0o700)
        stage.home.lock.mkdir(mode=0o700)
    else:
        stage.home.path.write_text("no folder")
    for ask in ("a tool", "be refused", "with usage"):
        ended = stage.run(stage.watched(stage.chat(f"{ask} {canary('-prompt')}", "keledger_team=kept-team")))
        said |= {f"{ask} {name}": text for name, text in said_by_keledger(ended).items()}
    waiting = files(stage.home.spool)
    assert any(b"kept-team" in content for content in waiting.values())
    assert_nothing(stage.home, said)
    if broken == "lock":
        stage.home.lock.rmdir()
    else:
        stage.home.path.unlink()
    outcome = keledger("--home", str(stage.home.path), "record", given=json.dumps(call()))
    assert outcome.status == 0, outcome.err
    assert list(stage.home.spool.glob("*.json")) == []
    assert len(stage.calls()) == 5
    assert_nothing(stage.home, ask_everything(stage.home))


def test_a_keprompt_without_any_room(private_stage: Stage) -> None:
    """Neither the home nor the spool can be written: the call is printed."""
    stage = private_stage
    stage.home.path.write_text("no folder")
    stage.home.spool.parent.mkdir(parents=True)
    stage.home.spool.write_text("no folder")
    ended = stage.run(stage.watched(stage.chat(f"with usage {canary('-prompt')}", "keledger_team=kept-team")))
    assert "kept-team" in ended.stderr
    assert_nothing(stage.home, said_by_keledger(ended))


def test_a_fault_of_its_own_is_told_by_its_kind(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The text of an error that nobody foresaw may quote the call."""

    def failing() -> Recorder:
        raise ValueError(canary("-fault"))

    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    said: list[str] = []
    server = CallServer(failing, said.append)
    ours, theirs = socket.socketpair()
    with ours:
        server.adopt(theirs)
        begin = {"id": "01a1ff7c-0000-7000-8000-000000000001", "provider": "openai", "model": "m"}
        ours.sendall(encode({"type": "end", "begin": begin, "end": {"status": "ok", "usage_raw": USAGE}}))
        server.serve(1.0)
    server.close()
    assert [sentence.partition(";")[0] for sentence in said] == ["unexpected ValueError"]
    captured = capfd.readouterr()
    assert_nothing(home, {"said": said[0], "stdout": captured.out, "stderr": captured.err})
    assert len(list(home.spool.glob("*.json"))) == 1


# What the search itself can find


@pytest.mark.parametrize(
    "spelled",
    [
        canary("").encode(),
        canary("").upper().encode(),
        json.dumps(canary("")).encode(),
        canary("").encode("utf-16"),
        canary("").encode("utf-16-be"),
        canary("").encode().hex().encode(),
    ],
)
def test_the_search_sees(spelled: bytes) -> None:
    assert sightings({"somewhere": b"before " + spelled + b" behind"})
    assert not sightings({"somewhere": b"nothing"})


@pytest.mark.parametrize("before", range(5))
def test_the_search_sees_base64(before: int) -> None:
    import base64

    assert sightings({"somewhere": base64.b64encode(b"x" * before + canary("").encode())})


def test_the_search_sees_names(tmp_path: Path) -> None:
    (tmp_path / CANARY).touch()
    assert sightings(files(tmp_path))


def test_an_event_with_it_is_seen_everywhere(home: Home) -> None:
    """Where the journal itself held it, the commands would tell it, and the search would find it."""
    appender = Appender(home)
    appender.append([NewEvent.of("call.voided", "01a1ff7c-0000-7000-8000-000000000001", {"text": CANARY})])
    appender.close()
    assert sightings(files(home.path))
    outcome = keledger("--home", str(home.path), "export", "--events")
    assert sightings({"": outcome.out.encode()})
