"""The last gate before the journal: strict validation of ``data`` without importing pydantic's models."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import orjson
from pydantic_core import SchemaValidator, ValidationError

import keledger.data

from ._errors import InputRefused


@functools.cache
def _schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = orjson.loads((Path(keledger.data.__path__[0]) / "event_schema.json").read_bytes())
    return schemas


@functools.cache
def _validator(event_type: str) -> SchemaValidator:
    return SchemaValidator(_schemas()[event_type])


@functools.cache
def _reading_validator(event_type: str) -> SchemaValidator:
    return SchemaValidator(_lenient(_schemas()[event_type]))


def _lenient(schema: Any) -> Any:
    """A schema that passes over keys that it does not know, at any depth."""
    if isinstance(schema, list):
        return [_lenient(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: "ignore" if key == "extra_behavior" and part == "forbid" else _lenient(part)
        for key, part in schema.items()
    }


def check_data(event_type: str, data: dict[str, Any]) -> None:
    """Hold *data* to the model of its type.  Raises InputRefused that names the first field that is wrong."""
    _check(_validator(event_type), event_type, data)


def check_read_data(event_type: str, data: dict[str, Any]) -> None:
    """As :func:`check_data` for an event that was read: keys that a later release added are no fault."""
    _check(_reading_validator(event_type), event_type, data)


def _check(validator: SchemaValidator, event_type: str, data: dict[str, Any]) -> None:
    try:
        validator.validate_python(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or event_type
        raise InputRefused(f"{place}: {first['msg']}") from None


def check_live_data(event_type: str, data: dict[str, Any]) -> None:
    """As :func:`check_data`, for a call that must not be lost: an optional field that is wrong is dropped, and named.

    Raises InputRefused where a field is wrong that every call has.
    """
    fields = _schemas()[event_type]["fields"]
    for _ in fields:
        try:
            return check_data(event_type, data)
        except InputRefused as error:
            name = str(error).partition(":")[0].partition(".")[0]
            if name not in data or fields[name]["required"]:
                raise
            del data[name]
            data.setdefault("repaired", []).append(f"dropped:{name}")
    return None


def prepare_check(event_type: str) -> None:
    """Load what :func:`check_data` needs for a type."""
    _validator(event_type)


def writes(event_type: str) -> bool:
    """Whether this release has a model for the type."""
    return event_type in _schemas()
