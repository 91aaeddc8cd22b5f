"""The width and height of an image that stands in a request, from the first bytes of its file."""

from __future__ import annotations

HEAD_BYTES_MAX = 1024 * 1024
"""How far into a file its size is looked for: a JPEG has it behind its metadata, as a rule tens of kilobytes."""

SIDE_MAX = 65_535
"""The longest side that JPEG and GIF can tell; WebP ends sooner, and no provider takes a longer one."""


def image_size(data: str | bytes) -> tuple[int, int] | None:
    """The width and height in pixels of a PNG, JPEG, GIF or WebP, given as bytes or in base64.

    None where it is none of these, or can't be read.  Nothing raises.
    """
    head = data[:HEAD_BYTES_MAX] if isinstance(data, bytes) else _decoded(data)
    if not _is_known(head):
        return None
    from io import BytesIO
    from struct import error

    import imagesize

    try:
        width, height = imagesize.get(BytesIO(head))
    except (ValueError, TypeError, IndexError, KeyError, OSError, EOFError, error):  # a file that is cut off or damaged
        return None
    return (width, height) if 0 < width <= SIDE_MAX and 0 < height <= SIDE_MAX else None


def _is_known(head: bytes) -> bool:
    """Whether a file begins as one of the four kinds: the library knows more, and none of them is any provider's."""
    return head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")) or (
        head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    )


def _decoded(data: str) -> bytes:
    """The first bytes of what is in base64, also in the spelling for URLs and with line breaks in it."""
    from base64 import b64decode

    text = "".join(data[: HEAD_BYTES_MAX * 4 // 3 * 2].split()).replace("-", "+").replace("_", "/")
    text = text[: HEAD_BYTES_MAX // 3 * 4].rstrip("=")
    try:
        return b64decode(text[: len(text) // 4 * 4])
    except ValueError:
        return b""
