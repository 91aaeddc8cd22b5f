"""From the pydantic models to what the hot path and other programs use.

``import pydantic`` and its models cost more than the rest of a launcher together, so appending validates with
pydantic_core alone, by a core schema that is derived here from the models and kept as data.  A test holds the
kept file against the models; ``python -m keledger.journal._schema`` writes it anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ._errors import UsageError
from ._events import MODELS, TYPES_RESERVED

SCHEMA_FILE = "event_schema.json"


def core_schemas() -> dict[str, Any]:
    """Per event type the core schema of its ``data`` as a plain dict: strict, unknown keys refused, no nulls."""
    return {name: _plain(model.__pydantic_core_schema__) for name, model in MODELS.items()}


def _plain(schema: Any) -> Any:
    """Turn a model's core schema into one over dicts that is JSON and holds no Python object."""
    kind = schema["type"]
    if kind == "definitions":
        return _plain(schema["schema"])
    if kind == "model":
        fields = schema["schema"]["fields"]
        return {
            "type": "typed-dict",
            "extra_behavior": "forbid",
            "fields": {name: _field(field["schema"]) for name, field in fields.items()},
        }
    if kind == "nullable":
        return _plain(schema["schema"])
    plain = {key: value for key, value in schema.items() if key not in ("metadata", "ref", "serialization")}
    for part in ("items_schema", "keys_schema", "values_schema"):
        if part in plain:
            plain[part] = _plain(plain[part])
    return plain


def _field(schema: Any) -> dict[str, Any]:
    optional = schema["type"] == "default"
    inner = schema["schema"] if optional else schema
    return {"type": "typed-dict-field", "required": not optional, "schema": _plain(inner)}


def json_schema(event_type: str | None = None) -> dict[str, Any]:
    """JSON Schema (2020-12) of one event type's whole line, or of all types that this release writes."""
    if event_type is not None:
        if event_type not in MODELS:
            state = "reserved for a later release" if event_type in TYPES_RESERVED else "not an event type"
            raise UsageError(f"{event_type!r} is {state}: this release writes {', '.join(MODELS)}")
        return _line_schema(event_type)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "keledger event",
        "oneOf": [_line_schema(name) for name in MODELS],
        "x-reserved-types": [name for name in TYPES_RESERVED if name not in MODELS],
    }


def _line_schema(event_type: str) -> dict[str, Any]:
    ordinal = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
    properties = {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "format": "uuid"},
        "source": {"type": "string", "pattern": "^/keledger/[0-9a-f]{16}$"},
        "type": {"const": event_type},
        "v": {"const": 1},
        "time": {"type": "string", "format": "date-time"},
        "seq": ordinal,
        "tick": ordinal,
        "data": MODELS[event_type].model_json_schema(),
        "hash": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    }
    return {
        "title": event_type,
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def _kept_text() -> str:
    return json.dumps(core_schemas(), indent=1, sort_keys=True) + "\n"


def main() -> None:
    """Write ``data/event_schema.json`` anew from the models."""
    import keledger.data

    (Path(keledger.data.__path__[0]) / SCHEMA_FILE).write_text(_kept_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
