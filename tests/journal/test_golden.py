"""The golden journal: held to the format page by code of its own, then to the reader."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import keledger.data
from keledger.journal import Home, Ledger, scan_journal, verify
from keledger.journal._events import MODELS
from keledger.journal._validate import check_data, writes

from .support import events, tree_bytes

GOLDEN = Path(keledger.data.__path__[0]) / "golden"
VERSIONS = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())


@pytest.fixture(params=VERSIONS)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """A copy of one version's golden home."""
    home = Home.at(tmp_path / "golden")
    shutil.copytree(GOLDEN / request.param, home.path)
    home.path.chmod(0o700)
    return home


def _expected(home: Home) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((home.path / "expected.json").read_text())
    return content


def test_every_type_that_is_written_stands_in_one() -> None:
    told = [json.loads((GOLDEN / version / "expected.json").read_text())["types"] for version in VERSIONS]
    assert {name for types in told for name in types} >= MODELS.keys()


def test_its_bytes_are_frozen(golden: Home) -> None:
    """No release may change what an earlier one wrote; a new version gets a folder of its own."""
    content = tree_bytes(golden.journal) | tree_bytes(golden.prices)
    frozen = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    assert frozen == _expected(golden)["sha256"]


def test_its_chain_follows_the_page(golden: Home) -> None:
    """Written from docs/format.md alone: no code of the reader is used."""
    for writer in golden.journal.iterdir():
        previous, seq, below = bytes(32), 0, b""
        for path in sorted(writer.iterdir()):
            data = path.read_bytes()
            head = json.loads(data.split(b"\n", 1)[0])["data"]
            assert head["prev_hash"] == previous.hex()
            for seal in head["seals"]:
                residue = below[seal["length_bytes"] :]
                assert len(residue) == seal["residue_bytes"]
                assert not residue or hashlib.sha256(residue).hexdigest() == seal["residue_sha256"]
            for line in data[: _sealed_length(writer, path) or len(data)].splitlines(keepends=True):
                digest = hashlib.sha256(previous + line[:-76]).digest()
                assert line[-76:] == b',"hash":"' + digest.hex().encode() + b'"}\n'
                event = json.loads(line)
                assert list(event) == [
                    "specversion", "id", "source", "type", "v", "time", "seq", "tick", "data", "hash",
                ]  # fmt: skip
                assert event["seq"] == seq + 1
                assert event["source"] == f"/keledger/{writer.name}"
                previous, seq = digest, event["seq"]
            below = data


def _sealed_length(writer: Path, path: Path) -> int | None:
    for above in sorted(writer.iterdir()):
        for seal in json.loads(above.read_bytes().split(b"\n", 1)[0])["data"]["seals"]:
            if seal["file"] == path.name:
                return int(seal["length_bytes"])
    return None


def test_it_is_read_as_expected(golden: Home) -> None:
    expected = _expected(golden)
    assert {writer: position.seq for writer, position in scan_journal(golden).positions.items()} == expected["seq"]
    result = verify(golden)
    assert dict(result.types) == expected["types"]
    assert result.unknown == expected["unknown"]
    assert [finding.kind for finding in result.findings] == expected["findings"]
    assert not result.damaged


def test_its_contents_fit_the_models(golden: Home) -> None:
    for event in events(golden):
        if event["v"] == 1 and writes(event["type"]):
            check_data(event["type"], event["data"])


def test_it_can_be_appended_to(golden: Home) -> None:
    before = tree_bytes(golden.journal)
    with Ledger.open(golden.path) as ledger:
        ledger.record(provider="openai", model="gpt-golden", usage={"input_uncached": 1})
    after = tree_bytes(golden.journal)
    assert {name: after[name] for name in before} == before  # another machine's home: a new writer
    assert not verify(golden).damaged
