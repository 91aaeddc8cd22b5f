"""``keledger record``: what it takes, what it refuses, and that it is all or nothing."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path

import pytest

from keledger.cli import _recording
from keledger.journal import Home, InputRefused, Ledger, _limits
from tests.journal.support import call, calls, events

from .support import COMMAND, json_lines, keledger, keledger_process, truth


@pytest.fixture(autouse=True)
def used_home(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The home that commands find; one call is journaled in it."""
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    with Ledger.open() as ledger:
        ledger.record(**call(id="the first"))
    return home


def test_stdin_lines_without_ids_are_new_each_time(home: Home) -> None:
    once = keledger("record", given=json_lines(call(), call()))
    again = keledger("record", "-", given=json_lines(call(), call()))
    ids = once.out.split() + again.out.split()
    assert (once.status, again.status, len(set(ids))) == (0, 0, 4)
    assert [event["id"] for event in calls(home)][1:] == ids
    assert once.err == again.err == ""


def test_a_lines_id_is_its_key_within_its_source(home: Home) -> None:
    line = json_lines(call(id="a key"))
    first, same, other = (keledger("record", *more, given=line).out for more in ([], [], ["--source", "proxy"]))
    assert first == same != other
    assert uuid.UUID(first.strip()).version == 5


def test_import_sources_mark_their_calls(home: Home) -> None:
    keledger("record", "--source", "import:proxy", given=json_lines(call(quality="totals_only")))
    assert calls(home)[-1]["data"]["origin"] == "import:proxy"


def test_a_file_is_recorded_once_unless_again(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_text(json_lines(call(), call(session="s")))
    first = keledger("record", str(file)).out
    assert keledger("record", str(file)).out == first
    again = keledger("record", "--again", str(file)).out
    assert not set(again.split()) & set(first.split())
    assert len({event["id"] for event in calls(home)}) == 5


def test_an_id_of_null_is_none(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_text(json_lines(call(id=None)))
    assert keledger("record", str(file)).out == keledger("record", str(file)).out


def test_a_copy_of_a_file_is_the_same_file(tmp_path: Path) -> None:
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    for file in (one, other):
        file.write_text(json_lines(call()))
    assert keledger("record", str(one)).out == keledger("record", str(other)).out


def test_json_says_what_became_of_each_line(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_text("\n" + json_lines(call(), call(model="no-such-model")))
    outcome = keledger("record", "--json", str(file))
    priced, unpriced = map(json.loads, outcome.out.splitlines())
    assert (priced["line"], priced["type"], priced["cost_state"]) == (2, "call.completed", "priced")
    assert (unpriced["line"], unpriced["cost_state"], unpriced["cost_usd"]) == (3, "unpriced", None)


def test_quiet_prints_nothing() -> None:
    outcome = keledger("record", "--quiet", given=json_lines(call()))
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")


@pytest.mark.parametrize(
    "text",
    ["\ufeff{0}\n", "{0}\r\n", "\n  \n{0}", "\t{0} \n\r\n"],
    ids=["byte order mark", "CRLF", "blank lines, no last line feed", "white space around"],
)
def test_harmless_spellings_are_taken(text: str) -> None:
    outcome = keledger("record", given=text.replace("{0}", json.dumps(call())))
    assert (outcome.status, len(outcome.out.split()), outcome.err) == (0, 1, "")


@pytest.mark.parametrize("given", ["", "\n\n"])
def test_no_calls_are_no_failure(given: str) -> None:
    outcome = keledger("record", given=given)
    assert (outcome.status, outcome.complaint) == (0, "stdin holds no calls")


BAD_LINES = {
    "broken JSON": ('{"provider":"openai",}', "not valid JSON: "),
    "no object": ("7", "must be an object, not a number"),
    "a list": ("[" + json.dumps(call()) + "]", "jq -c '.[]'"),
    "two values": (json.dumps(call()) * 2, "not valid JSON: extra data"),
    "NaN": ('{"provider":"openai","model":"m","usage_raw":{"prompt_tokens":NaN}}', "NaN is no JSON"),
    "infinity": ('{"provider":"openai","model":"m","duration_ms":-Infinity}', "-Infinity is no JSON"),
    "a float as a count": (json.dumps(call(usage={"output_text": 1.5})), "usage.output_text must be a whole number"),
    "a whole float as a count": (json.dumps(call(duration_ms=3.0)), "duration_ms must be a whole number"),
    "a float as money": (json.dumps(call(reported_cost_usd=0.25)), "reported_cost_usd must be a decimal string"),
    "an exponent in money": (json.dumps(call(reported_cost_usd="1e-3")), "reported_cost_usd must be a decimal string"),
    "a negative count": (json.dumps(call(usage={"output_text": -1})), "not a negative number"),
    "a count above 2^53": (json.dumps(call(duration_ms=2**53)), "duration_ms must be a whole number"),
    "a huge whole number": (f'{{"attempt":{"9" * 5000}}}', "a number of 5,000 characters"),
    "a huge float": ('{"attempt":1e999}', "1e999 is too large"),
    "a lone surrogate": ('{"provider":"openai","model":"\\ud83d"}', "lone surrogate"),
    "a lone surrogate in a key": ('{"usage_raw":{"\\uDFFF":1}}', "lone surrogate"),
    "not UTF-8": (b'{"provider":"openai","model":"\xff"}', "not UTF-8: byte 31 is 0xff"),
    "UTF-16": ('{"provider":"openai"}'.encode("utf-16"), "it is UTF-16"),
    "a key that stands twice": ('{"model":"a","model":"b"}', "the key 'model' stands twice"),
    "deep nesting": ('{"usage_raw":' + '{"a":' * 40 + "1" + "}" * 41, "nested deeper than 32 levels"),
    "absurd nesting": ("[" * 100_000, "nested deeper than 32 levels"),
    "an unknown field": (json.dumps(call(promt="x")), "unknown field 'promt'; did you mean 'prompt'?"),
    "an unknown bucket": (json.dumps(call(usage={"tokens": 1})), "unknown usage bucket 'tokens'"),
    "no model": ('{"provider":"openai","usage":{}}', "model is missing"),
    "no usage": ('{"provider":"openai","model":"m"}', "usage is missing"),
    "an id that is no text": (json.dumps(call(id=7)), "id must be a string"),
    "a long name": (json.dumps(call(prompt="x" * 300 * 1024)), "prompt is 307200 bytes long, 256 are allowed"),
    "a line over 1 MiB": (json.dumps(call(prompt="x" * 2**20)), "longer than 1,048,576 bytes"),
    "too many tags": (json.dumps(call(tags={f"t{n}": "v" for n in range(33)})), "33 tags are given, 32 are allowed"),
    "a time without an offset": (json.dumps(call(time="2026-01-01T00:00:00")), "is no time: write it like"),
    "a time ahead": (json.dumps(call(time="2099-01-01T00:00:00Z")), "more than 24 h ahead"),
    "an event": ('{"specversion":"1.0","id":"x"}', "it is an event, not a call: keledger merge"),
}


@pytest.mark.parametrize(("line", "words"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_named_and_nothing_is_written(home: Home, line: str | bytes, words: str) -> None:
    before = truth(home)
    bad = line.encode() if isinstance(line, str) else line
    good = json.dumps(call()).encode()
    given = bad if words == "it is UTF-16" else b"\n".join([good, bad, good])
    outcome = keledger("record", given=given)
    named, outcome_line = outcome.err.splitlines()
    assert named.startswith(f"keledger: stdin line {1 if given is bad else 2}: ")
    assert words in named
    assert "nothing was written" in outcome_line
    assert (outcome.status, outcome.out) == (1, "")
    assert truth(home) == before


def test_an_indented_object_gets_one_sentence_of_advice(home: Home) -> None:
    before = truth(home)
    outcome = keledger("record", given=json.dumps(call(), indent=2))
    assert outcome.status == 1
    assert outcome.complaint == (
        "stdin line 1 is only the beginning of a JSON value: record takes one call a line; jq -c . puts each on one"
    )
    assert truth(home) == before


def test_a_cut_first_line_does_not_cost_the_others() -> None:
    outcome = keledger("record", "--partial", given='{"provider":\n' + json_lines(call()))
    assert (outcome.status, len(outcome.out.split())) == (1, 1)


def test_refusals_are_counted_beyond_the_first_twenty() -> None:
    outcome = keledger("record", given="7\n" * 25 + json_lines(call()))
    *named, last = outcome.err.splitlines()
    assert len(named) == 20
    assert last == (
        "keledger: 25 of 26 calls in stdin are refused (the first 20 are named), so nothing was written: "
        "mend them, or record the other 1 with --partial"
    )


def test_partial_takes_the_good_lines_and_still_fails(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_text(json_lines(call(session="a"), 7, call(session="b")))
    outcome = keledger("record", "--partial", str(file))
    assert (outcome.status, len(outcome.out.split())) == (1, 2)
    assert outcome.err.splitlines()[-1] == f"keledger: 1 of 3 calls in {file} is refused; 2 recorded"
    assert [event["data"]["session"] for event in calls(home)[1:]] == ["a", "b"]
    assert keledger("record", "--partial", str(file)).out == outcome.out


def test_an_id_with_two_meanings_in_one_input_is_refused(home: Home) -> None:
    same = keledger("record", given=json_lines(call(id="k", session="a"), call(id="k", session="a")))
    assert same.status == 0
    outcome = keledger("record", given=json_lines(call(id="n", session="a"), call(id="n", session="b")))
    assert outcome.status == 1
    assert "stdin line 2: its id stands on line 1 already" in outcome.err


@pytest.mark.parametrize(
    ("path", "words"),
    [("missing.jsonl", "cannot be read: No such file or directory"), (".", "is a folder: give a file of JSON lines")],
)
def test_an_input_that_is_no_file_is_named(tmp_path: Path, path: str, words: str) -> None:
    outcome = keledger("record", str(tmp_path / path))
    assert outcome.status == 1
    assert words in outcome.complaint


def test_a_source_that_no_origin_can_hold_is_a_usage_error() -> None:
    outcome = keledger("record", "--source", "two words", given=json_lines(call()))
    assert outcome.status == 2
    assert "--source" in outcome.complaint


def test_a_pipe_by_name_is_a_stream(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen([*COMMAND, "record", str(pipe)], stdout=subprocess.PIPE) as process:
        pipe.write_text(json_lines(call()))
        assert process.stdout is not None
        printed = process.stdout.read().decode().split()
    assert process.returncode == 0
    assert uuid.UUID(printed[0]).version == 7


def test_more_than_memory_or_a_batch_holds_goes_the_same_way(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_recording, "KEPT_IN_MEMORY_BYTES_MAX", 1000)
    monkeypatch.setattr(_limits, "BATCH_BYTES_MAX", 5000)
    outcome = keledger("record", given=json_lines(*(call(session=f"s{n}") for n in range(20))))
    assert outcome.status == 0
    assert [event["data"]["session"] for event in calls(home)[1:]] == [f"s{n}" for n in range(20)]


def test_recording_goes_on_where_nobody_reads_the_ids(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_text(json_lines(*(call(session=f"s{n}") for n in range(500))))
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = subprocess.run([*COMMAND, "record", str(file)], stdout=writing, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writing)
    assert (process.returncode, process.stderr) == (128 + 13, b"")
    assert len(calls(home)) == 501


def test_a_file_that_changes_meanwhile_is_refused(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_text(json_lines(call()))
    given = _recording.Input(str(file))
    file.write_text(json_lines(call(session="another")))
    before = events(home)
    with Ledger.open() as ledger:
        recording = _recording.Recording(ledger, given, source="record", by_content=True)
        with pytest.raises(InputRefused, match="changed while it was read"):
            recording.check(lambda done, total: None)
        recording.close()
    given.close()
    assert events(home) == before


def test_a_crash_between_batches_is_completed_by_running_it_again(home: Home, tmp_path: Path) -> None:
    """A file-size limit that the first batch fits into, and the second, of longer lines, does not."""
    raw = {"prompt_tokens": 1, **{f"detail_{n}": "x" * 100 for n in range(120)}}
    given = [call(session=f"s{n}") for n in range(3000)] + [call(session="long", usage_raw=raw)] * 300
    file = tmp_path / "calls.jsonl"
    file.write_text(json_lines(*given))
    limited = ("sh", "-c", f'ulimit -f {3_900_000 // 512}; exec "$@"', "sh")
    broken = keledger_process("record", str(file), prefix=limited)
    done = len(broken.out.split())
    assert broken.status == 1
    assert f"{done:,} of 3,300 calls are recorded: running it again completes it" in broken.complaint
    assert 0 < done < 3300
    completed = keledger("record", str(file))
    assert completed.status == 0
    assert len({event["id"] for event in calls(home)}) == 3301


def test_a_damaged_price_file_is_exit_status_3(home: Home) -> None:
    for path in home.prices.iterdir():
        path.write_bytes(path.read_bytes() + b" ")
    before = truth(home)
    outcome = keledger("record", given=json_lines(call()))
    assert (outcome.status, outcome.out) == (3, "")
    assert outcome.complaint.endswith("is damaged, its content does not fit its name: restore it from a backup")
    assert truth(home) == before
