"""The tokens of images, as the providers' documents have them, and sizes from the beginnings of files."""

from __future__ import annotations

import base64
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keledger.journal.estimates._image_size import image_size
from keledger.journal.estimates._images import blocks, image_tokens, patches, tiles


@pytest.mark.parametrize(
    ("model", "size", "detail", "tokens"),
    [
        # OpenAI, "Images and vision": the examples that it works out
        ("gpt-4o", (1024, 1024), "high", 765),
        ("gpt-4o", (2048, 4096), "high", 1105),
        ("gpt-4o", (4096, 8192), "low", 85),
        ("gpt-5.4", (1024, 1024), "high", 1229),
        ("gpt-5.4", (2048, 2048), "high", 3000),
        ("gpt-4.1-nano", (1024, 1024), None, 2520),
        ("o4-mini", (1800, 2400), None, 2498),
        # its tables, worked out by hand
        ("gpt-4o-mini", (1024, 1024), "auto", 2833 + 4 * 5667),
        ("openai/gpt-5", (512, 512), "high", 70 + 140),
        ("gpt-5.1-2025-11-13", (513, 512), None, 70 + 2 * 140),
        ("o3", (100, 100), "low", 75),
        ("gpt-5-mini", (320, 320), None, 120),
        ("gpt-5-nano", (320, 320), None, 150),
        ("gpt-4.1-mini", (320, 320), "low", 162),
        ("gpt-5.5", (4000, 3000), "high", 2942),
        ("gpt-5.5", (320, 320), "low", 120),
        ("gpt-5.6-sol", (4000, 3000), None, 14_100),
        # Anthropic, "Vision": its table
        ("claude-sonnet-4-5", (200, 200), None, 64),
        ("claude-3-haiku-20240307", (1000, 1000), None, 1296),
        ("claude-sonnet-4-20250514", (1092, 1092), None, 1521),
        ("claude-opus-4-6", (1920, 1080), None, 1560),
        ("us.anthropic.claude-3-5-sonnet-20240620-v1:0", (1075, 1520), None, 33 * 47),
        ("claude-opus-4-7", (1920, 1080), None, 2691),
        ("anthropic/claude-sonnet-5", (3840, 2160), None, 4784),
        # Google, "Understand and count tokens", "Media resolution"
        ("gemini-2.5-flash", (384, 384), None, 258),
        ("gemini-2.5-flash", (385, 100), None, 258),
        ("models/gemini-2.0-flash", (769, 768), None, 516),
        ("gemini-1.5-pro", (1536, 1537), None, 6 * 258),
        ("gemini-3-pro-preview", (10, 10), None, 1120),
        ("gemini-3.8-flash", (5000, 5000), "low", 280),
        ("gemini-3.8-flash", (5000, 5000), "ultra_high", 2240),
    ],
)
def test_tokens(model: str, size: tuple[int, int], detail: str | None, tokens: int) -> None:
    assert image_tokens(model, size, detail) == (tokens, tokens, tokens)


@pytest.mark.parametrize(
    ("model", "detail", "least", "most"),
    [
        ("gpt-4o", None, 85, 1105),
        ("gpt-4o", "low", 85, 85),
        ("gpt-4o", "high", 255, 1105),
        ("claude-sonnet-4-5", None, 100, 1564),
        ("gemini-2.5-pro", None, 258, 6192),
        ("gemini-3-flash-preview", None, 1120, 1120),
        ("llama-4-maverick", None, 85, 4800),
    ],
)
def test_a_size_that_is_not_known_makes_a_range(model: str, detail: str | None, least: int, most: int) -> None:
    found = image_tokens(model, None, detail)
    assert (found.least, found.most) == (least, most)
    assert least <= found.likely <= most


sides = st.integers(1, 65_535)


@given(sides, sides)
def test_limits_are_kept_whichever_way_an_image_is_turned(width: int, height: int) -> None:
    assert 1 <= tiles(width, height) == tiles(height, width) <= 8
    for side, most in ((2048, 1536), (2048, 2500), (512, 256)):
        assert 1 <= patches(width, height, side, most) == patches(height, width, side, most) <= most
    for side, most in ((1568, 1568), (2576, 4784)):
        assert 1 <= blocks(width, height, side, most) == blocks(height, width, side, most) <= most


def png(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def jpeg(width: int, height: int, metadata_bytes: int = 0) -> bytes:
    blocks = b"".join(
        b"\xff\xe2" + struct.pack(">H", 60_002) + bytes(60_000) for _ in range(-(-metadata_bytes // 60_000))
    )
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(9)
    return b"\xff\xd8\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0" + bytes(9) + blocks + frame + b"\xff\xd9"


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(3)


def webp(width: int, height: int) -> bytes:
    flags = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + flags


@pytest.mark.parametrize("make", [png, jpeg, gif, webp])
def test_the_size_of_each_kind_of_file(make: object) -> None:
    assert callable(make)
    content = make(640, 480)
    assert image_size(content) == (640, 480)
    spelled = base64.b64encode(content).decode()
    assert image_size(spelled) == (640, 480)
    assert image_size(base64.urlsafe_b64encode(content).decode().rstrip("=")) == (640, 480)
    assert image_size("\n".join(spelled[i : i + 20] for i in range(0, len(spelled), 20))) == (640, 480)


def test_a_jpeg_with_long_metadata_has_its_size_too() -> None:
    assert image_size(base64.b64encode(jpeg(3, 4, 600_000)).decode()) == (3, 4)
    assert image_size(jpeg(3, 4, 2_000_000)) is None


@pytest.mark.parametrize(
    "content",
    [
        b"", b"x", b"<svg width='1' height='1'/>", b"II*\0" + bytes(20), b"%PDF-1.7", b"\x89PNG\r\n\x1a\n", png(0, 5),
        png(5, 2**31), jpeg(5, 5)[:24], b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0WEBPVP8 ", b"GIF89a",
    ],
)  # fmt: skip
def test_what_is_none_of_them_has_no_size(content: bytes) -> None:
    assert image_size(content) is None
    assert image_size(base64.b64encode(content).decode()) is None


@given(st.sampled_from([png, jpeg, gif, webp]), st.binary(max_size=40), st.integers(0, 60), st.text(max_size=8))
def test_nothing_raises(make: object, noise: bytes, length: int, text: str) -> None:
    assert callable(make)
    content = make(64, 48)
    image_size(content[:length] + noise)
    image_size(content[:8] + noise)
    image_size(text)
