"""Calls as bytes, fast: each is built once by the code that ``record`` uses, then filled in again and again.

A form is the encoded ``data`` of an event with gaps where its calls differ.  What costs time, normalising, pricing and
validating, is done once a form; a form is used within one day only, so its price is right for each of its calls.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from keledger.journal._calls import build_call
from keledger.journal._line import NewEvent
from keledger.journal._time import format_time
from keledger.journal._validate import check_data
from keledger.journal.prices import Book

from ._world import (
    COST_CENTERS,
    FEATURES,
    REFUSED_OF_1000,
    TEAMS,
    UNANSWERED_OF_1000,
    Model,
    Session,
    new_uuid,
    sessions_of_day,
    tokens,
)

FORMS_KEPT = 8
"""Forms a model and day.  Each is used by several calls once a day has more of them."""

OS_USER = "bench"

_DURATION_MS = 9_004_005_006_007
"""Stands for a call's own duration while its form is made: no other number of a call is like it."""

_GAPS = (
    "run", "session", "prompt", "prompt_version", "statement", "client_call_id", "response_id",
    "user", "project", "team", "cost_center", "feature",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """One call that is ready to be journaled, and when its line is written."""

    ends_us: int
    event: NewEvent


@dataclass(frozen=True, slots=True)
class _Form:
    type: str
    template: bytes


class Day:
    """Makes the calls of one day."""

    def __init__(self, draw: random.Random, day_us: int, book: Book, *, lean: bool) -> None:
        self._draw, self._day_us, self._book, self._lean = draw, day_us, book, lean
        self._forms: dict[tuple[str, str], list[_Form]] = {}

    def calls(self, count: int) -> list[Call]:
        """*count* calls in the order in which they end."""
        calls = [
            call for session in sessions_of_day(self._draw, self._day_us, count) for call in self._calls_of(session)
        ]
        return sorted(calls, key=lambda call: call.ends_us)

    def _calls_of(self, session: Session) -> list[Call]:
        draw, calls = self._draw, []
        shared = {
            b"run": session.run.encode(),
            b"session": session.id.encode(),
            b"prompt": b"prompt-%02d" % session.prompt,
            b"prompt_version": b"%d.%d.0" % (1 + session.prompt % 3, session.prompt % 5),
            b"user": b"user-%02d" % session.user,
            b"project": b"project-%02d" % session.project,
            b"team": b"team-%d" % (session.project % TEAMS),
            b"cost_center": b"cc-%d00" % (session.project % COST_CENTERS),
            b"feature": b"feature-%d" % (session.prompt % FEATURES),
        }
        for number, starts_us in enumerate(session.starts_us, 1):
            outcome = _outcome(draw)
            duration_ms = 200 if outcome == "refused" else 60_000 if outcome == "unanswered" else tokens(draw, 4_000)
            form = self._form(session.model, outcome)
            own = {
                b"input_sha256": b"%064x" % draw.getrandbits(256),
                b"started_at": format_time(starts_us).encode(),
                b"duration_ms": b"%d" % duration_ms,
                b"statement": b"%02d .exec" % (1 + 2 * number),
                b"client_call_id": b"%b-exec%03d-Call-01" % (shared[b"session"], number),
                b"response_id": b"%030x" % draw.getrandbits(120),
            }
            event = NewEvent(form.type, new_uuid(draw, starts_us), form.template % (shared | own))
            calls.append(Call(starts_us + duration_ms * 1000, event))
        return calls

    def _form(self, model: Model, outcome: str) -> _Form:
        kept = self._forms.setdefault((f"{model.provider}/{model.model}", outcome), [])
        if len(kept) < FORMS_KEPT:
            kept.append(self._new_form(model, outcome))
            return kept[-1]
        return self._draw.choice(kept)

    def _new_form(self, model: Model, outcome: str) -> _Form:
        gaps = {name: f"<{name}>" for name in _GAPS}
        noon = format_time(self._day_us + 12 * 3_600_000_000)
        fields = {
            "provider": model.provider,
            "model": model.model,
            "started_at": noon,
            "duration_ms": _DURATION_MS,
            "run": gaps["run"],
            **_OUTCOMES[outcome],
        }
        attributes: dict[str, Any] = {"user": gaps["user"], "project": gaps["project"]}
        if not self._lean:
            fields |= told_by_keprompt(model, gaps, answered=outcome == "ok")
            attributes |= {"team": gaps["team"], "cost_center": gaps["cost_center"]}
            attributes["tags"] = {"env": "prod", "feature": gaps["feature"]}
        if outcome == "ok":
            fields["usage_raw"] = model.usage(self._draw)
        built = build_call(
            fields, attributes, book=self._book, origin="record" if self._lean else "hook", os_user=OS_USER, live=False
        )
        if self._lean:
            for name in ("usage_raw", "usage_format"):
                built.data.pop(name, None)
        check_data(built.type, built.data)
        return _Form(built.type, _template(built.data, noon))


def _outcome(draw: random.Random) -> str:
    roll = draw.randrange(1000)
    if roll < REFUSED_OF_1000:
        return "refused"
    return "unanswered" if roll < REFUSED_OF_1000 + UNANSWERED_OF_1000 else "ok"


_OUTCOMES: Mapping[str, Mapping[str, Any]] = {
    "ok": {"http_status": 200},
    "refused": {"http_status": 429, "status": "error", "error_type": "rate_limit_exceeded"},
    "unanswered": {"status": "unknown", "error_type": "ReadTimeout"},
}


def told_by_keprompt(model: Model, gaps: Mapping[str, str], *, answered: bool) -> dict[str, Any]:
    """What a hook inside KePrompt tells beside the usage."""
    told: dict[str, Any] = {
        name: gaps[name] for name in ("session", "prompt", "prompt_version", "statement", "client_call_id")
    }
    told["client"] = "keprompt 3.1.0"
    told["call_keys"] = [f"keprompt:{gaps['session']}:{gaps['client_call_id']}"]
    if answered:
        told["response_model"] = model.response_model
        told["response_id"] = model.response_id + gaps["response_id"]
        told["finish_reason"] = "stop"
    return told


def _template(data: Mapping[str, Any], noon: str) -> bytes:
    """The encoded data with a ``%(name)b`` in each gap."""
    template = orjson.dumps(data).replace(b"%", b"%%")
    given = {
        data["input_sha256"].encode(): b"%(input_sha256)b",
        noon.encode(): b"%(started_at)b",
        b"%d" % _DURATION_MS: b"%(duration_ms)b",
        **{b"<%b>" % name.encode(): b"%%(%b)b" % name.encode() for name in _GAPS},
    }
    for stand_in, gap in given.items():
        template = template.replace(stand_in, gap)
    return template
