"""What must not be found anywhere, in all the spellings in which it might be."""

from __future__ import annotations

import base64
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

CANARY = "canaryZq7Xv9"
"""Letters and digits alone, so that escaping and quoting leave it as it is."""


def canary(name: str) -> str:
    """A private text that tells where it was put, with characters that JSON, URLs and shells spell in other ways."""
    return f'sk-é"&=/{CANARY}{name}/+?% \\'


def spellings() -> Iterable[bytes]:
    """The bytes by which the canary is known: as text, UTF-16, hexadecimal, and base64 at each of its three places."""
    yield CANARY.lower().encode()
    yield CANARY.lower().encode("utf-16-le")
    yield CANARY.lower().encode("utf-16-be")
    yield CANARY.encode().hex().encode()


def base64_spellings() -> Iterable[bytes]:
    """What of the canary's base64 is the same whatever stands before and behind it; case matters here."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + CANARY.encode() + b"\0" * 3)
        first = -(-8 * before // 6)
        last = (8 * (before + len(CANARY))) // 6
        yield encoded[first:last]


def sightings(places: Mapping[str, bytes]) -> list[str]:
    """Where the canary is, with what stands around it."""
    found = []
    for name, content in places.items():
        lowered = content.lower()
        for text, spelled in ((lowered, spellings()), (content, base64_spellings())):
            for spelling in spelled:
                if (at := text.find(spelling)) >= 0:
                    found.append(f"{name}: {content[max(0, at - 60) : at + 60]!r}")
    return found


def files(*folders: Path) -> dict[str, bytes]:
    """Every file below some folders with its content, and, for what a name may tell, every name."""
    found = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            found[str(path)] = path.read_bytes() if path.is_file() else b""
            found[f"the name {path}"] = str(path.relative_to(folder)).encode()
    return found


def open_ones(*folders: Path) -> list[str]:
    """What below some folders, themselves included, is not 0700 (folders) or 0600 (everything else)."""
    found = []
    for folder in folders:
        for path in (folder, *sorted(folder.rglob("*"))):
            mode = stat.S_IMODE(path.lstat().st_mode)
            if mode != (0o700 if path.is_dir() else 0o600):
                found.append(f"{path} {mode:04o}")
    return found
