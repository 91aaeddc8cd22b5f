"""What runs inside KePrompt's own interpreter: it watches the one method through which models are called.

This file is loaded by path, just before ``keprompt.AiProvider`` is imported, into an environment that may hold
neither keledger nor anything it depends on; what lies beside it is loaded the same way, when it is needed.  So it
imports the standard library alone, keeps to Python 3.10's syntax, and tells keledger's own interpreter of each
call over a socket; docs/keprompt.md has the protocol.

Two rules shape it.  The user's call goes on: no fault in here may break it, every wait is bounded, and what
cannot be told is kept in the spool; only a budget that blocks stops it, and where one stands no call is made
without keledger's leave.  And nothing private leaves: no message text, headers, keys, URL, nor the text of an
exception, which may quote all of them.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

PROTOCOL = 1

# How long keledger is waited for.  It may wait 5 s for the journal's lock itself, so `done` may honestly take
# longer than that.  Once it was late it is given little time, until it answers in time again.
CONNECT_WAIT_S = 1.0
SEND_WAIT_S = 1.0
GO_WAIT_S = 5.0
DONE_WAIT_S = 10.0
LATE_WAIT_S = 0.2

# Where a budget stands that blocks, nothing is sent without an answer, so it is waited for longer: how budgets stand
# may have to be counted from the whole journal again, which takes up to a minute a million events on a busy machine.
GUARD_WAIT_S = 300.0

# A usage object takes some hundred bytes; this only keeps a broken one from clogging the line.
USAGE_BYTES_MAX = 256 * 1024

# What is longer is text, and what has other keys is no usage object's; journal/_cleaning.py holds to the same.
USAGE_STRING_CHARACTERS_MAX = 128
USAGE_KEY = re.compile(r"[A-Za-z0-9_.-]{1,128}")

MACHINE_MODULE = "keprompt.keprompt_vm"
REQUEST_PARAMETERS = ["self", "url", "headers", "data", "label"]
ATTRIBUTES = ("project", "user", "team", "cost_center", "tags")
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@+=-]*")
PRICING_FIELDS = ("service_tier", "speed", "inference_geo")

# Above which cost calls are to be confirmed; read without TOML, which Python 3.10 lacks.
CONFIRMATION = re.compile(rb"""^[ \t]*["']?confirm_above_usd\b""", re.MULTILINE)
CONFIRMATION_FILE_BYTES_MAX = 1024 * 1024

# What requests and urllib3 raise before the first byte of a request has left.  Whatever else they raise, the
# request may have reached the provider, and may have been billed.
RAISED_BEFORE_SENDING = frozenset(
    (
        "ConnectTimeout", "ConnectTimeoutError", "InvalidHeader", "InvalidJSONError", "InvalidProxyURL",
        "InvalidSchema", "InvalidURL", "LocationParseError", "MissingSchema", "NameResolutionError",
        "NewConnectionError", "SSLCertVerificationError",
    )
)  # fmt: skip


class CallRefused(Exception):
    """A budget says no to this call.  To KePrompt it is a failed call: nothing is sent, the chat is saved."""


@functools.cache
def beside(name: str) -> Any:
    """A module that lies beside this file, loaded by its path as this one is."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(f"_keledger_{name}", Path(__file__).with_name(f"{name}.py"))
    module = sys.modules[spec.name] = module_from_spec(spec)  # type: ignore[arg-type, union-attr]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def say(sentence: str) -> None:
    """Write one line to stderr: stdout holds KePrompt's JSON, and logging may be led there."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.write(f"keledger: {sentence}\n")


def quietly(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep a fault of the observer away from the user's call: said in one line, answered with None."""

    @functools.wraps(function)
    def guarded(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except CallRefused:
            raise
        except Exception as error:  # noqa: BLE001  without its text, which may quote the request
            step = function.__name__.strip("_")
            say(f"a fault of its own ({type(error).__name__} in {step}); a model call may not be journaled")
            return None

    return guarded


def find_provider(name: str, path: Any, target: Any, helper: str | None) -> Any:
    """Find KePrompt's provider module as Python would, and have it watched as soon as it is executed."""
    return find_module(name, path, target, lambda module: watch(module, helper))


def find_module(name: str, path: Any, target: Any, then: Callable[[Any], None]) -> Any:
    """Find a module of KePrompt's as Python would, and have *then* called with it as soon as it is executed."""
    for finder in sys.meta_path:
        if getattr(finder, "keledger", False) or not hasattr(finder, "find_spec"):
            continue
        spec = finder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            _call_after_execution(spec.loader, name, then)
            return spec
    return None


@quietly
def _call_after_execution(loader: Any, name: str, then: Callable[[Any], None]) -> None:
    execute = loader.exec_module

    def exec_module(module: Any) -> None:
        execute(module)
        if module.__name__ == name:  # a loader may serve more than one module
            then(module)

    loader.exec_module = exec_module


def watch(module: Any, helper: str | None) -> None:
    """Wrap ``AiProvider.make_api_request``; where it is not as expected, leave KePrompt alone.

    Raises SystemExit where nothing may be sent, and KePrompt alone would.
    """
    _watch(module, helper)
    request = getattr(getattr(module, "AiProvider", None), "make_api_request", None)
    if "estimate" in run_flags() and not getattr(request, "watched_by_keledger", False):
        raise SystemExit(
            "keledger: only an estimate was asked for, and this KePrompt would make its calls: it ends here"
        )


@quietly
def _watch(module: Any, helper: str | None) -> None:
    provider = module.AiProvider
    original = getattr(provider, "make_api_request", None)
    if getattr(original, "watched_by_keledger", False):
        return
    if not callable(original) or list(inspect.signature(original).parameters) != REQUEST_PARAMETERS:
        say(
            f"{client_name()} calls models in a way that this keledger does not know, so its calls are not "
            "journaled, nor held to a budget; look for a newer keledger"
        )
        return
    wire = Wire()
    if hasattr(module, "requests"):
        module.requests = wire.stand_in_for(module.requests)
    provider.make_api_request = _watched(original, wire)
    line.helper = helper
    if os.environ.get("KELEDGER_SOCKET"):
        line.hello()  # the launcher loads what it needs while KePrompt goes on importing
    _add_statements()
    _understand_auto()


@quietly
def _understand_auto() -> None:
    """Have keledger choose the model where a prompt says ``"model":"auto"``."""
    when_loaded(MACHINE_MODULE, _wrap_load_llm)


@quietly
def _wrap_load_llm(module: Any) -> None:
    if "estimate" in run_flags():
        beside("rendering").lack_no_key(module)
    machine = getattr(module, "VM", None)
    original = getattr(machine, "load_llm", None)
    if machine is None or not callable(original) or list(inspect.signature(original).parameters) != ["self", "params"]:
        return  # another KePrompt: "auto" is a model that it does not know, and it says so

    @functools.wraps(original)
    def load_llm(self: Any, params: Any) -> Any:
        if isinstance(params, dict) and params.get("model") == "auto":
            params = beside("choosing").chosen(self, params, module, sys.modules[__name__])
        return original(self, params)

    machine.load_llm = load_llm


def when_loaded(name: str, then: Callable[[Any], None]) -> None:
    """Have *then* called with a module of KePrompt's: at once where it is loaded, else as soon as it is executed."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        then(loaded)
        return

    awaited = _awaited.setdefault(name, [])
    awaited.append(then)
    if len(awaited) > 1:
        return  # finders of keledger's do not ask one another, so one serves all who wait for a module

    def executed(module: Any) -> None:
        for each in awaited:
            each(module)

    class Finder:
        keledger = True  # as the other finders of keledger's have it

        def find_spec(self, asked: str, path: Any = None, target: Any = None) -> Any:
            return find_module(asked, path, target, executed) if asked == name else None

    sys.meta_path.insert(0, Finder())


_awaited: dict[str, list[Callable[[Any], None]]] = {}


@quietly
def _add_statements() -> None:
    """Have ``.budget`` and ``.cost_check`` understood where the user has turned them on, and nowhere else."""
    if os.environ.get("KELEDGER_STATEMENTS") or any(getattr(finder, "statements", False) for finder in sys.meta_path):
        beside("statements").add_when_loaded(sys.modules[__name__])


def _watched(original: Callable[..., Any], wire: Wire) -> Callable[..., Any]:
    @functools.wraps(original)
    def make_api_request(self: Any, url: str, headers: Any, data: Any, label: str) -> Any:
        call = Call(self, data, label)
        call.begin()
        exchange = wire.expect()
        try:
            answer = original(self, url=url, headers=headers, data=data, label=label)
        except BaseException as error:
            call.end(exchange, None, error)
            raise
        call.end(exchange, answer, None)
        return answer

    make_api_request.watched_by_keledger = True  # type: ignore[attr-defined]
    return make_api_request


class Exchange:
    """One request of one thread: whether ``requests`` was asked at all, and its response if there is one."""

    def __init__(self, asked: bool) -> None:
        self.asked = asked
        self.response: Any = None


class Wire:
    """Learns the HTTP status, which KePrompt keeps to itself, by standing in for the name ``requests``."""

    def __init__(self) -> None:
        self._in_place = False
        self._of_thread = threading.local()

    def expect(self) -> Exchange:
        """A fresh exchange for the call that this thread is about to make."""
        # Where nothing stands in, nothing is seen, and the request counts as sent.
        exchange = self._of_thread.exchange = Exchange(asked=not self._in_place)
        return exchange

    def stand_in_for(self, requests: Any) -> Any:
        """``requests`` itself, but for ``post``, which notes what it gets."""
        of_thread = self._of_thread
        self._in_place = True

        class Requests:
            def __getattr__(self, name: str) -> Any:
                return getattr(requests, name)

            def post(self, *arguments: Any, **named: Any) -> Any:
                exchange = getattr(of_thread, "exchange", None) or Exchange(asked=False)
                exchange.asked = True
                exchange.response = requests.post(*arguments, **named)
                return exchange.response

        return Requests()


def never_left(exchange: Exchange, error: BaseException | None) -> bool:
    """Whether the request surely did not leave.  A refused connection is no call; a lost answer is one."""
    if error is None or exchange.response is not None:
        return False
    if not exchange.asked:
        return True
    pending: list[BaseException] = [error]
    for _ in range(16):  # requests wraps urllib3's error, which wraps its reason, which wraps the socket's
        if not pending:
            break
        cause = pending.pop()
        if type(cause).__name__ in RAISED_BEFORE_SENDING:
            return True
        inner = (*cause.args, getattr(cause, "reason", None))
        pending.extend(each for each in inner if isinstance(each, BaseException))
    return False


class Call:
    """One call of a model, from before its request leaves until its answer is known."""

    def __init__(self, handler: Any, data: Any, label: Any) -> None:
        self._started = time.monotonic()
        self._given = (handler, data, label)
        self._begin: dict[str, Any] | None = None
        self._end: dict[str, Any] | None = None

    def begin(self) -> None:
        """Tell of the call before its request leaves.  Raises CallRefused where a budget does not let it."""
        try:
            announced = self._announce()
        except KeyboardInterrupt:
            self._withdraw()
            raise
        if not announced and (budget_blocks() or must_be_asked()):
            raise CallRefused(say_refusal("keledger cannot tell what this call may cost, and it is to be held to that"))

    def end(self, exchange: Exchange, answer: Any, error: BaseException | None) -> None:
        """Tell how the call ended.  An interrupt in here is let through, but only once that is told."""
        try:
            self._close(exchange, answer, error)
        except KeyboardInterrupt:
            self._close(exchange, answer, error)  # twice is harmless: an id is journaled once
            raise

    @quietly
    def _announce(self) -> bool:
        self._begin = begin_facts(*self._given)
        declared = declared_limits(getattr(getattr(self._given[0], "prompt", None), "vm", None))
        if declared:
            self._begin["declared"] = declared
        refusal = line.begin(self._begin, self._given[1])
        if refusal is not None:
            raise CallRefused(refusal)
        return True

    @quietly
    def _close(self, exchange: Exchange, answer: Any, error: BaseException | None) -> None:
        if self._begin is None:
            return
        if never_left(exchange, error):
            self._withdraw()
            return
        if self._end is None:  # made once: the same call told twice must be the same, to the letter
            duration_ms = int((time.monotonic() - self._started) * 1000)
            self._end = {**end_facts(exchange, answer, error), "duration_ms": duration_ms}
        if not line.end(self._begin, self._end):
            kept = keep(self._begin, self._end)
            if kept is not None:
                say(f"a call could not be journaled and waits in {kept}")

    @quietly
    def _withdraw(self) -> None:
        if self._begin is not None:
            line.unsent(self._begin)


def begin_facts(handler: Any, data: Any, label: Any) -> dict[str, Any]:
    """What is known before the request leaves.  A fact that a version of KePrompt lacks costs no other."""
    prompt: Any = getattr(handler, "prompt", None)
    machine: Any = getattr(prompt, "vm", None)
    chat = getattr(machine, "prompt_uuid", None)
    request = data if isinstance(data, dict) else {}

    def call_id() -> str:
        # KePrompt uses it again after Ctrl-C: it is a key to find the call by, never its identity.
        return f"{getattr(prompt, '_current_call_id', None) or chat}-{label}"

    def statement() -> str:
        current = machine.statements[machine.ip - 1]  # ip points at the next one already
        return f"{int(current.msg_no):02d} {current.keyword}"

    def model() -> Any:
        # Gemini's request does not name its model; KePrompt's own name leads with the provider's.
        return request.get("model") or prompt.model.split("/", 1)[-1]

    facts: dict[str, Any] = {
        "id": uuid7(),
        "started_at": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),  # noqa: UP017  for 3.10
    }
    sources: dict[str, Callable[[], Any]] = {
        "run": _run,
        "session": lambda: chat,
        "prompt": lambda: machine.prompt_name,
        "prompt_version": lambda: machine.prompt_version,
        "statement": statement,
        "client": client_name,
        "client_call_id": call_id,
        "call_keys": lambda: [f"keprompt:{chat}:{call_id()}"] if chat else None,
        "agent_number": lambda: machine.vdict.get("agent_number"),
        "provider": lambda: prompt.provider,
        "model": model,
        "pricing_context": lambda: _pricing_context(request),
        "attributes": lambda: _attributes(machine.vdict),
        "request": lambda: beside("shape").shape_of(request),
        "run_flags": run_flags,
        "environment": _environment,
        "cwd": os.getcwd,
    }
    for name, source in sources.items():
        with contextlib.suppress(Exception):
            value = source()
            if value not in (None, "", {}):
                facts[name] = value if isinstance(value, (dict, list)) else str(value)
    return facts


def declared_limits(machine: Any) -> list[dict[str, str]]:
    """What the run and the prompt say that they may cost.  Raises CallRefused for an amount that is none."""
    module = beside("declared")
    try:
        found: list[dict[str, str]] = module.declared(machine, run_flags())
    except module.WrongBudget as error:
        raise CallRefused(say_refusal(str(error))) from None
    return found


def run_flags() -> dict[str, Any]:
    """What was given to ``keledger run``."""
    with contextlib.suppress(ValueError):
        flags = json.loads(os.environ.get("KELEDGER_RUN_FLAGS", "{}"))
        if isinstance(flags, dict):
            return flags
    return {}


def must_be_asked() -> bool:
    """Whether no call may go out without keledger's word: by how the run was started, or by a file."""
    return not {"budget", "confirm_above", "estimate"}.isdisjoint(run_flags()) or confirmation_stands(_folder())


def confirmation_stands(folder: str | None) -> bool:
    """Whether the home's ``config.toml``, or the nearest ``keledger.toml`` upwards of a folder, has calls confirmed."""
    return says_to_confirm(home_folder() / "config.toml") or (
        folder is not None and says_to_confirm(nearest_project_file(folder))
    )


def says_to_confirm(path: Path | None) -> bool:
    """Whether a file has calls confirmed, well-formed or not."""
    with contextlib.suppress(OSError, ValueError):
        if path is not None and path.is_file():
            with path.open("rb") as file:
                return CONFIRMATION.search(file.read(CONFIRMATION_FILE_BYTES_MAX)) is not None
    return False


def nearest_project_file(folder: str) -> Path | None:
    """The nearest ``keledger.toml``, which counts, as in journal/_attributes.py, where nobody else can write it."""
    for place in (Path(folder), *Path(folder).parents):
        path = place / "keledger.toml"
        with contextlib.suppress(OSError, ValueError):
            status = path.stat()
            return path if status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022 else None
    return None


def _folder() -> str | None:
    with contextlib.suppress(OSError):
        return os.getcwd()
    return None


def budget_blocks() -> bool:
    """Whether keledger has left word that a budget stands in this home that blocks calls."""
    return os.path.exists(home_folder() / "guard" / "blocking")


def say_refusal(sentence: str) -> str:
    """Say why a call is not made, and return it: where keledger itself refuses, keledger says so."""
    say(f"call refused: {sentence}")
    return sentence


def end_facts(exchange: Exchange, answer: Any, error: BaseException | None) -> dict[str, Any]:
    """What is known once the call is over; an answer stays one where KePrompt stumbled over it afterwards."""
    response = exchange.response
    http_status = getattr(response, "status_code", None)
    if answer is None and response is not None:
        with contextlib.suppress(ValueError):
            answer = response.json()
    body = answer if isinstance(answer, dict) else {}
    usage = _usage(body)
    refused = isinstance(http_status, int) and not 200 <= http_status < 300
    facts = {
        # Answered, and no word of what it took: that may have been billed.
        "status": "error" if refused else "ok" if usage else "unknown",
        "http_status": http_status,
        "usage_raw": usage,
        "response_id": _text(body, "id", "responseId"),
        "response_model": _text(body, "model", "modelVersion"),
        "finish_reason": _finish_reason(body),
        "pricing_context": _pricing_context(body) or None,
        "error_type": type(error).__name__ if error is not None else None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _usage(body: dict[str, Any]) -> dict[str, Any] | None:
    """The provider's usage object, where there is one that a line of JSON can carry; nothing in it that may be text."""
    usage = body.get("usage") or body.get("usageMetadata")
    if not isinstance(usage, dict):
        return None
    try:
        usage = without_text(usage)
        length_bytes = len(encode(usage))
    except (ValueError, RecursionError):  # NaN, which Python's parser lets through; or nested without end
        return None
    return usage if length_bytes <= USAGE_BYTES_MAX else None


def without_text(value: Any) -> Any:
    """A part of a usage object without long strings and odd keys: the journal drops them, and the spool must, too."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if USAGE_KEY.fullmatch(key) and not _is_text(item)}
        return {key: without_text(item) for key, item in kept.items()}
    if isinstance(value, list):
        return [without_text(item) for item in value if not _is_text(item)]
    return value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) > USAGE_STRING_CHARACTERS_MAX


def _finish_reason(body: dict[str, Any]) -> str | None:
    for key in ("choices", "candidates"):
        alternatives = body.get(key)
        if isinstance(alternatives, list) and alternatives and isinstance(alternatives[0], dict):
            return _text(alternatives[0], "finish_reason", "finishReason")
    return _text(body, "stop_reason")


def _text(body: dict[str, Any], *names: str) -> str | None:
    """The first of these that is one word: an id or a name, never a sentence that a provider put in its place."""
    return next((body[name] for name in names if is_word(body.get(name))), None)


def _pricing_context(message: dict[str, Any]) -> dict[str, str]:
    """What a price may hang on that stands beside the usage, under the providers' own names."""
    return {name: message[name] for name in PRICING_FIELDS if is_word(message.get(name))}


def is_word(value: object) -> bool:
    """Whether a value is an id or a name, as a program gives it."""
    return isinstance(value, str) and len(value) <= 256 and WORD.fullmatch(value) is not None


def _attributes(variables: dict[str, Any]) -> dict[str, Any]:
    """What the call itself says: ``"params":{"keledger":{…}}``, and above it ``--set keledger_team=…``."""
    of_prompt = variables.get("keledger")
    said = dict(of_prompt) if isinstance(of_prompt, dict) else {}
    said.update((name, variables[f"keledger_{name}"]) for name in ATTRIBUTES if f"keledger_{name}" in variables)
    found: dict[str, Any] = {name: str(said[name]) for name in ATTRIBUTES if said.get(name) is not None}
    tags = said.get("tags")
    if isinstance(tags, str):
        tags = dict(part.split("=", 1) for part in tags.split(",") if "=" in part)
    if isinstance(tags, dict):
        found["tags"] = {str(key).strip(): str(value).strip() for key, value in tags.items()}
    else:
        found.pop("tags", None)
    return found


def _environment() -> dict[str, str]:
    names = (f"KELEDGER_{name.upper()}" for name in ATTRIBUTES)
    return {name: os.environ[name] for name in names if name in os.environ}


def _run() -> str:
    """This run's id: the launcher's, else one made here and left to whatever this process starts."""
    return os.environ.setdefault("KELEDGER_RUN", uuid7())


@functools.lru_cache(maxsize=1)
def client_name() -> str:
    """``keprompt 3.1.0``."""
    try:
        from keprompt.version import __version__ as version  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return "keprompt"
    return f"keprompt {version}"


def uuid7() -> str:
    """A UUID of version 7 (RFC 9562): 48 bits of milliseconds, then random ones."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class Line:
    """The one connection of this process to keledger's interpreter, opened when it is first needed.

    A reply that comes too late is known by its id and passed over.  A slow keledger is not hung up on: in the
    middle of a call that would read as "the client died".
    """

    def __init__(self) -> None:
        self.helper: str | None = None
        self._forget()
        os.register_at_fork(after_in_child=self._after_fork)

    def hello(self) -> None:
        """Connect, so that the launcher knows that calls may follow."""
        with self._lock:
            self._connected()

    def begin(self, begin: dict[str, Any], request: Any = None) -> str | None:
        """Announce a call and wait for leave.  The text of a refusal, or None.

        *request* is what is to be sent.  keledger gets to see it only where it asks for that, to estimate the call;
        then the estimate's id is noted in *begin*.
        """
        with self._lock:
            blocks = bool(begin.get("declared")) or budget_blocks() or must_be_asked()
            replies = ("go", "refuse", "wait", "show")
            reply = self._ask({"type": "begin", "begin": begin}, replies, GO_WAIT_S, again=blocks)
            if reply is None or reply["type"] == "wait":
                reply = self._wait_for_leave(begin, reply, blocks)
            if reply is not None and reply["type"] == "show":
                blocks = blocks or bool(reply.get("blocks"))
                reply = beside("asking").answer_show(self, begin, request)
                if reply is None or reply["type"] == "wait":
                    reply = self._wait_for_leave(begin, reply, blocks)
        if reply is None:
            self.unsent(begin)  # leave that comes too late is given back
            return say_refusal("keledger does not answer, and this call must not be sent without its leave")
        if reply["type"] == "refuse":
            return str(reply.get("text") or "keledger refuses this call")
        if reply.get("estimate_id"):
            begin["estimate_id"] = reply["estimate_id"]
        return None

    def end(self, begin: dict[str, Any], end: dict[str, Any]) -> bool:
        """Report a call's end, with its beginning, which may not have arrived.  True once keledger has it."""
        return self._ask({"type": "end", "begin": begin, "end": end}, ("done",), DONE_WAIT_S) is not None

    def covers(self, begin: dict[str, Any]) -> list[dict[str, Any]] | None:
        """What the budgets that cover a call have left, one row each; None where keledger does not answer."""
        reply = self._ask({"type": "covers", "begin": begin}, ("covered",), DONE_WAIT_S)
        return reply.get("rows") if reply is not None else None

    def exchange(
        self, message: dict[str, Any], replies: tuple[str, ...], wait_s: float, *, send_wait_s: float | None = None
    ) -> dict[str, Any] | None:
        """Say something about a call on a line that is up, and return the reply, or None where none came in time.

        Raises what :func:`encode` does, with the line still up.
        """
        with self._lock:
            if self._socket is None:
                return None
            try:
                self._send(message, send_wait_s)
            except OSError:
                self._hang_up()
                return None
            return self._hear(message["begin"]["id"], replies, wait_s)

    def choose(self, message: dict[str, Any], wait_s: float) -> dict[str, Any] | None:
        """Have a model chosen for a call that is not begun yet; None where keledger does not answer."""
        with self._lock:
            if not self._connected(again=True):
                return None
            return self.exchange(message, ("chosen", "refuse"), wait_s, send_wait_s=wait_s)

    def unsent(self, begin: dict[str, Any]) -> None:
        """Take an announced call back: its request never left."""
        with self._lock, contextlib.suppress(OSError):
            if self._socket is not None:
                self._send({"type": "unsent", "id": begin["id"]})

    def _forget(self) -> None:
        self._lock = threading.RLock()  # one who waits for leave goes on listening alone
        self._socket: socket.socket | None = None
        self._received = b""
        self._given_up = False
        self._late = False

    def _after_fork(self) -> None:
        """A child speaks for itself: on a connection of its own, with a lock that nobody else may hold."""
        if self._socket is not None:
            self._socket.close()
        self._forget()

    def _ask(
        self, message: dict[str, Any], replies: tuple[str, ...], wait_s: float, *, again: bool = False
    ) -> dict[str, Any] | None:
        """Send a message about a call and return the reply to it, or None where none came in time."""
        with self._lock:
            if not self._connected(again=again):
                return None
            return self.exchange(message, replies, LATE_WAIT_S if self._late else wait_s)

    def _wait_for_leave(
        self, begin: dict[str, Any], reply: dict[str, Any] | None, blocks: bool
    ) -> dict[str, Any] | None:
        """Wait on where nothing may be sent without leave, and say so where it takes long; else go on without it."""
        # Word is left, too, while it is still being found out whether a budget blocks.
        if not (blocks or reply is not None or budget_blocks()):
            return {"type": "go"}
        replies = ("go", "refuse", "show")
        reply = self._hear(begin["id"], replies, GO_WAIT_S)
        if reply is None and self._socket is not None:
            say("budgets are being asked, which takes long where their state must be counted from the journal again")
            reply = self._hear(begin["id"], replies, GUARD_WAIT_S)
        return reply

    def _hear(self, identifier: str, replies: tuple[str, ...], wait_s: float) -> dict[str, Any] | None:
        """The reply about a call, or None where it does not come in time."""
        deadline = time.monotonic() + wait_s
        try:
            while self._socket is not None:
                reply = self._receive(deadline)
                if reply.get("id") == identifier and reply.get("type") in replies:
                    self._late = False
                    return reply
        except TimeoutError:
            self._late = True
        except (OSError, ValueError):
            self._hang_up()
        return None

    def _send(self, message: dict[str, Any], wait_s: float | None = None) -> None:
        assert self._socket is not None
        encoded = encode(message)
        try:
            self._socket.settimeout(SEND_WAIT_S if wait_s is None else wait_s)
            self._socket.sendall(encoded)
        except TimeoutError as error:  # a part of the line may be on its way, so no other can follow it
            raise ConnectionError("keledger does not read") from error

    def _receive(self, deadline: float) -> dict[str, Any]:
        assert self._socket is not None
        while b"\n" not in self._received:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            received = self._socket.recv(65536)
            if not received:
                raise ConnectionError("keledger has hung up")
            self._received += received
        text, self._received = self._received.split(b"\n", 1)
        reply = json.loads(text)
        return reply if isinstance(reply, dict) else {}

    def _connected(self, *, again: bool = False) -> bool:
        if self._socket is None and (again or not self._given_up):
            address = os.environ.get("KELEDGER_SOCKET")
            self._socket = (dial(address) if address else None) or (start(self.helper) if self.helper else None)
            try:
                if self._socket is not None:
                    self._send(hello_facts())
            except OSError:
                self._hang_up()
            self._given_up = self._socket is None
        return self._socket is not None

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._given_up = True


line = Line()


def hello_facts() -> dict[str, Any]:
    """Who speaks."""
    python = sys.version.split()[0]
    return {
        "type": "hello",
        "protocol": PROTOCOL,
        "pid": os.getpid(),
        "python": python,
        "client": client_name(),
    }


def dial(address: str) -> socket.socket | None:
    """Connect to a launcher's socket; None where nobody listens any more."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(CONNECT_WAIT_S)
        connection.connect(address)
    except OSError:
        connection.close()
        return None
    return connection


def start(interpreter: str) -> socket.socket | None:
    """Start keledger's own interpreter as a helper of this process.

    It gets the socket as its stdin, and a session of its own: a Ctrl-C at the terminal, which ends this
    process, must not take the one along that journals how it ended.  -E and -P keep the modules of this
    environment out of it.
    """
    ours, theirs = socket.socketpair()
    program = "from keledger.cli.helper import serve; serve()"
    command = [interpreter, "-E", "-P", "-c", program]
    actions = [
        (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
    ]
    try:
        try:
            os.posix_spawn(interpreter, command, os.environ, file_actions=actions, setsid=True)
        except NotImplementedError:  # an older libc: the helper leaves the session by itself
            os.posix_spawn(interpreter, command, os.environ, file_actions=actions)
    except OSError as error:
        say(f"{interpreter} cannot be started ({error.strerror}); run `keledger keprompt enable` again")
        ours.close()
        return None
    finally:
        theirs.close()
    return ours


def encode(message: dict[str, Any]) -> bytes:
    """One message as one line of JSON.  Raises ValueError for what JSON has no word for."""
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def keep(begin: dict[str, Any], end: dict[str, Any] | None) -> Path | None:
    """Keep a call that could not be journaled: in the spool of its home, else whole on stderr (then None)."""
    home = str(home_folder())
    call = encode({"keledger_spool": 1, "kind": "hook", "home": home, "begin": begin, "end": end})
    try:
        return _write_to_spool(f"{begin['id']}.json", call)
    except OSError:
        say("a call could be neither journaled nor spooled; keep this line: " + call.decode("ascii").rstrip())
        return None


def _write_to_spool(name: str, content: bytes) -> Path:
    folder = spool_folder()
    for place in (*reversed(folder.parents), folder):
        if not place.exists():  # mkdir's own `parents` makes the upper ones for everybody
            place.mkdir(mode=0o700, exist_ok=True)
    path = folder / name
    temporary = folder / f".{name}.{os.getpid()}.{threading.get_ident()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # the new name lives in the folder
    finally:
        os.close(descriptor)
    return path


def home_folder() -> Path:
    """The home in use."""
    given = os.environ.get("KELEDGER_HOME")
    return Path(given).expanduser() if given else _xdg_folder("XDG_DATA_HOME", ".local/share") / "keledger"


def spool_folder() -> Path:
    """The spool of the home in use: each home has one, named by the hash of its real path."""
    import hashlib

    name = hashlib.sha256(os.fsencode(os.path.realpath(home_folder()))).hexdigest()[:16]
    return _xdg_folder("XDG_STATE_HOME", ".local/state") / "keledger" / "spool" / name


def _xdg_folder(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    return Path(value) if Path(value).is_absolute() else Path.home() / default  # as the XDG rules have it
