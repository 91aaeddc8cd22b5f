"""What one request makes a model read: texts, definitions of tools, images, and what can't be counted.

It knows the same forms as :mod:`keledger.journal.capture.shape`: OpenAI's chat completions, responses and embeddings,
Anthropic's messages and Gemini's generateContent.  That module judges a request as a stranger would and lets no text
out; this one is asked by whoever wrote the request, and takes from it whatever is text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from keledger.journal._errors import InputRefused
from keledger.journal.capture.shape import CONVERSATIONS, DATA_FIELDS, DEPTH_MAX, INNER_FIELDS, INSTRUCTIONS, NESTED

TEXT_FIELDS = ("text", "refusal", "reasoning_content", "name", "code")
"""Fields of a message or of a part of one that the model reads as they are."""

KEPT_ELSEWHERE = ("previous_response_id", "conversation", "cached_content")
"""Fields that bring in what the provider keeps."""

IMAGES = ("image_url", "input_image", "image", "computer_screenshot")
OTHER_MEDIA = {
    "input_audio": "audio",
    "audio": "audio",
    "document": "document",
    "file": "document",
    "input_file": "document",
    "video": "video",
    "video_url": "video",
    "thinking": "thinking of an earlier answer",
    "redacted_thinking": "thinking of an earlier answer",
    "reasoning": "thinking of an earlier answer",
}
"""Types of parts whose tokens can't be told from the request, and what each is."""


class Image(NamedTuple):
    """An image of a request: its bytes, in base64 or as they are, where they stand in it; else what stands there."""

    data: str | bytes | None
    where: str
    detail: str | None


class Read(NamedTuple):
    """What one request makes a model read.

    ``texts`` are of all messages, system prompts, calls and results of tools; ``definitions`` is the compact JSON of
    each tool, ``schemas`` that of a form in which the answer must be; ``token_ids`` counts ids that were given instead
    of text; ``others`` says what can't be counted.
    """

    texts: tuple[str, ...]
    messages: int
    definitions: tuple[str, ...]
    schemas: tuple[str, ...]
    images: tuple[Image, ...]
    others: tuple[str, ...]
    token_ids: int


def read_request(request: object) -> Read:
    """Read the body of a request, the arguments of a provider's Python library, or a text (one message of a user).

    Raises InputRefused where it has none of the known forms, or where it holds nothing to count.
    """
    if isinstance(request, str):
        request = {"prompt": request}
    body = _plain(request, 0)
    if not isinstance(body, dict):
        raise InputRefused(
            f"a request is a JSON object or a text, and this is {_kind(request)}: give the body that the model is sent"
        )
    return _Reader(body).read()


class _Reader:
    """What is found in one request while it is read."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._texts: list[str] = []
        self._messages = 0
        self._definitions: list[str] = []
        self._schemas: list[str] = []
        self._images: list[Image] = []
        self._others: list[str] = []
        self._token_ids = 0
        self._resolution: str | None = None
        self._has_conversation = False
        fields = list(_fields(body))
        for name, value in fields:
            if name == "media_resolution":
                self._resolution = _resolution(value)
        for name, value in fields:
            if value is not None:
                self._field(name, value)

    def read(self) -> Read:
        if not self._has_conversation:
            raise InputRefused(
                "the request has none of messages, contents, input and prompt: give a body as OpenAI, Anthropic or "
                "Gemini take it, or a text"
            )
        if not (any(self._texts) or self._images or self._others or self._token_ids):
            raise InputRefused("there is nothing to count: the prompt is empty, so give it a text")
        return Read(
            tuple(self._texts), self._messages, tuple(self._definitions), tuple(self._schemas), tuple(self._images),
            tuple(self._others), self._token_ids,
        )  # fmt: skip

    def _field(self, name: str, value: Any) -> None:
        if name in CONVERSATIONS or name in INSTRUCTIONS or name == "prompt":
            if not isinstance(value, (str, list, dict)):
                raise InputRefused(f"{name} of the request is {_kind(value)}: give a text, or a list of messages")
            self._has_conversation = self._has_conversation or name not in INSTRUCTIONS
            self._take_messages(name, value)
        elif name in ("tools", "functions") and isinstance(value, list):
            for tool in value:
                self._take_tool(tool)
        elif name in ("response_schema", "response_json_schema"):
            self._schemas.append(_compact(value))
        elif name in ("response_format", "text", "output_format", "output_config"):
            self._take_schema(value)
        elif name in KEPT_ELSEWHERE:
            self._others.append("what the provider keeps of earlier calls")

    def _take_messages(self, name: str, value: Any) -> None:
        """A conversation, or the instructions before it: of which every item is a message."""
        if isinstance(value, dict) and name == "prompt":
            self._others.append("a prompt that the provider keeps")
            self._has_conversation = True
            return
        items = value if isinstance(value, list) else [value]
        if items and all(type(item) is int for item in items):
            self._messages += 1
            self._token_ids += len(items)
            return
        # A system prompt in several parts is one message, and so are the parts of one of Gemini's contents.
        is_one = name in INSTRUCTIONS or (bool(items) and all(isinstance(item, str) for item in items))
        self._messages += min(1, len(items)) if is_one else len(items)
        for item in items:
            self._take(item)

    def _take(self, item: Any) -> None:
        """A message, or a part of one."""
        if isinstance(item, str):
            self._texts.append(item)
        elif isinstance(item, list):
            if item and all(type(each) is int for each in item):
                self._token_ids += len(item)
                return
            for each in item:
                self._take(each)
        elif isinstance(item, dict):
            self._take_part(_snake_keys(item))

    def _take_part(self, part: dict[str, Any]) -> None:
        kind = part.get("type")
        data = part.get("inline_data") or part.get("file_data")
        if kind in IMAGES:
            self._images.append(self._image(part))
        elif isinstance(data, dict):
            self._take_blob(_snake_keys(data), part)
        elif kind == "document" and _is_text_document(part):
            source = part["source"]
            self._take(source.get("data") if source.get("type") == "text" else source.get("content"))
            self._take(part.get("title"))
            self._take(part.get("context"))
        elif isinstance(kind, str) and kind in OTHER_MEDIA:
            self._others.append(OTHER_MEDIA[kind])
        else:
            for name, value in part.items():
                self._take_value(name, value)

    def _take_value(self, name: str, value: Any) -> None:
        if name in DATA_FIELDS:
            self._texts.append(value if isinstance(value, str) else _compact(value))
        elif name in INNER_FIELDS or name in ("function_response", "executable_code", "code_execution_result"):
            self._take(value)
        elif name in TEXT_FIELDS and isinstance(value, str):
            self._texts.append(value)

    def _take_blob(self, data: dict[str, Any], part: dict[str, Any]) -> None:
        """Gemini's ``inlineData`` and ``fileData``, of any kind of media."""
        kind = str(data.get("mime_type", "")).partition("/")[0]
        if kind == "image":
            content = data.get("data")
            detail = _resolution(part.get("media_resolution")) or self._resolution
            is_here = isinstance(content, str | bytes)
            self._images.append(Image(content if is_here else None, "a file that the provider keeps", detail))
        elif kind == "text" and isinstance(data.get("data"), str):
            self._texts.append(_decoded(data["data"]))
        else:
            self._others.append(kind if kind in ("audio", "video") else "document")

    def _image(self, part: dict[str, Any]) -> Image:
        """OpenAI's ``image_url`` and ``input_image``, and Anthropic's ``image``."""
        source = part.get("source")
        if isinstance(source, dict):
            if source.get("type") == "base64":
                return Image(source.get("data"), "unreadable", None)
            return Image(None, "a link" if source.get("type") == "url" else "a file that the provider keeps", None)
        where = part.get("image_url")
        detail = part.get("detail")
        if isinstance(where, dict):
            detail = where.get("detail", detail)
            where = where.get("url")
        detail = detail.lower() if isinstance(detail, str) else None
        if not isinstance(where, str):
            return Image(None, "a file that the provider keeps", detail)
        if where[:5].lower() == "data:":
            return Image(where.partition(",")[2], "unreadable", detail)
        return Image(None, "a link", detail)

    def _take_tool(self, tool: Any) -> None:
        declarations = _snake_keys(tool).get("function_declarations") if isinstance(tool, dict) else None
        for definition in declarations if isinstance(declarations, list) else [tool]:
            self._definitions.append(_compact(definition))

    def _take_schema(self, value: Any) -> None:
        """A schema wherever OpenAI's and Anthropic's bodies have it, as ``json_schema``, ``format`` or ``schema``."""
        for name in ("format", "json_schema", "schema"):
            if isinstance(value, dict) and isinstance(value.get(name), dict):
                value = value[name]
                if name != "format":
                    self._schemas.append(_compact(value))
                    return


def _is_text_document(part: dict[str, Any]) -> bool:
    source = part.get("source")
    return isinstance(source, dict) and source.get("type") in ("text", "content")


def _plain(value: object, depth: int) -> Any:
    """A request as plain JSON and bytes; an object of a provider's library dumps itself."""
    if value is None or isinstance(value, (str, int, float, bytes)):
        return value
    if depth < DEPTH_MAX:
        if isinstance(value, Mapping):
            return {str(name): _plain(item, depth + 1) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [_plain(item, depth + 1) for item in value]
        dump = getattr(value, "model_dump", None)
        if callable(dump) and not isinstance(value, type):
            return _plain(dump(mode="json", exclude_none=True), depth + 1)
        raise InputRefused(f"the request holds {_kind(value)}, which is no JSON: give its body as it is sent")
    raise InputRefused(f"the request is nested deeper than {DEPTH_MAX} levels: no provider takes that")


def _fields(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields of a request by their names in snake_case, those of the nested objects among them."""
    for name, value in _snake_keys(body).items():
        if name in NESTED and isinstance(value, dict):
            yield from _fields(value)
        else:
            yield name, value


def _snake_keys(fields: dict[str, Any]) -> dict[str, Any]:
    """``maxOutputTokens`` as ``max_output_tokens``: Gemini takes both spellings."""
    return {
        name if name.islower() else "".join(f"_{each.lower()}" if each.isupper() else each for each in name): value
        for name, value in fields.items()
    }


def _resolution(value: Any) -> str | None:
    """``MEDIA_RESOLUTION_HIGH``, or an object with that as its level, as ``high``."""
    if isinstance(value, dict):
        value = value.get("level")
    return value.lower().removeprefix("media_resolution_") if isinstance(value, str) else None


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=lambda _: "")


def _decoded(data: str) -> str:
    import base64
    import binascii

    try:
        return base64.b64decode(data).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return data


def _kind(value: object) -> str:
    return "nothing" if value is None else f"of the type {type(value).__name__}"
