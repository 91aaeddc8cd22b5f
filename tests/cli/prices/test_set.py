"""``keledger prices set`` and ``unset``: what is set, what is asked, and what is refused."""

from __future__ import annotations

import getpass
from typing import Any

import pytest

from keledger.journal import Home, Ledger, current_prices, verify
from keledger.journal.prices import Cell, shipped_manifest, user_cells
from tests.cli.support import Outcome, keledger, keledger_terminal, truth
from tests.journal.support import call, calls, events, tree_bytes

MODEL = "openai/gpt-5-mini"


def set_prices(*arguments: str, model: str = MODEL, reason: str = "our contract") -> Outcome:
    """Set without a question."""
    return keledger("prices", "set", model, "-yy", "--reason", reason, *arguments)


def own(home: Home) -> tuple[Cell, ...]:
    """The user's cells, without what the day of the test makes of them."""
    return tuple(cell._replace(date=None) for cell in user_cells(*current_prices(home)))


def adoptions(home: Home) -> list[dict[str, Any]]:
    return [event["data"] for event in events(home) if event["type"] == "prices.adopted"]


def test_a_price_is_set_for_new_calls_with_who_and_why(used: Home) -> None:
    before = calls(used)
    done = set_prices("--input", "0.20", "--output", "1.6")
    assert done.status == 0, done.err
    told = done.json
    assert (told["report"], told["adopted"], told["dry_run"], told["changed"]) == ("prices_set", True, False, True)
    assert told["based_on"] == shipped_manifest().sha256
    assert [(row["bucket"], row["old_usd_per_million"], row["new_usd_per_million"]) for row in told["changes"]] == [
        ("input_uncached", "0.25", "0.2"),
        ("output_text", "2", "1.6"),
        ("output_reasoning", "2", "1.6"),
    ]
    adopted = adoptions(used)[-1]
    assert (adopted["book"], adopted["reason"], adopted["actor"]) == (told["book"], "our contract", getpass.getuser())
    assert events(used)[-1]["id"] == told["event"]
    assert own(used) == (
        Cell(
            "openai",
            "gpt-5-mini",
            "",
            {"input_uncached": "0.2", "output_reasoning": "1.6", "output_text": "1.6"},
            source="our contract",
        ),
    )
    assert calls(used) == before
    with Ledger.open(used.path) as ledger:
        ledger.record(**call(usage_raw=None, usage={"input_uncached": 1_000_000, "cache_read": 1_000_000}))
    assert calls(used)[-1]["data"]["cost"]["total_usd"] == "0.225"
    assert not verify(used).damaged


def test_every_term_of_a_price_is_kept(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    monkeypatch.setenv("KELEDGER_TZ", "Europe/Berlin")
    done = set_prices(
        *("--cache-read", "0", "--price", "web_searches=8000", "--price", "input_audio_ms=.5", "--request", "10000"),
        *("--from", "2026-11-01", "--to", "2026-12-01T12:00", "--context", "service_tier=batch,speed=standard"),
        *("--over", "200000", "--minutes", "00:30-8:30", "--weekdays", "Sat-mon"),
        model="OpenAI/models/GPT-5-mini",
        reason="tränen 🙂",
    )
    assert done.status == 0, done.err
    (cell,) = own(home)
    assert cell == Cell(
        "openai",
        "models/gpt-5-mini",
        "processing=batch",
        {"cache_read": "0", "input_audio_ms": "0.5", "requests": "10000", "web_searches": "8000"},
        1_793_491_200_000_000,  # 2026-11-01T00:00Z
        1_796_122_800_000_000,  # 2026-12-01T11:00Z
        30,
        510,
        "1000011",
        200_000,
        source="tränen 🙂",
    )


def test_names_are_those_by_which_calls_are_found(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    assert set_prices("--input", "1", model="gemini/models/Gemini-2.5-Flash").status == 0
    assert [(cell.provider, cell.model) for cell in own(home)] == [("google", "gemini-2.5-flash")]


def test_a_model_that_no_list_knows_is_priced_whole(used: Home) -> None:
    done = keledger("--pretty", "prices", "set", "acme/unheard-of", "--input", "3", "-yy", "--reason", "new")
    assert done.status == 0, done.err
    assert "Follow from what is given: cache_read 3, cache_write_5m 3, cache_write_1h 3." in done.out
    assert "No list knows acme/unheard-of: only calls that name it just so have this price" in done.out
    assert "1 call without a price would have one now: keledger replay --reprice --only unpriced" in done.out
    (cell,) = own(used)
    assert set(cell.usd_per_million) == {"input_uncached", "cache_read", "cache_write_5m", "cache_write_1h"}


def test_the_preview_says_what_stays(used: Home) -> None:
    done = keledger("--pretty", "prices", "set", f"{MODEL}-2025-08-07", "--input", "3", "-yy", "--reason", "new")
    assert done.status == 0, done.err
    assert "Stay as genai-prices 0.2.3 has them: cache_read, cache_read_audio, cache_write_1h" in done.out
    assert "Only calls that name openai/gpt-5-mini-2025-08-07 have this price; openai/gpt-5-mini keeps" in done.out
    assert "None of your calls would cost anything else by these prices." in done.out


def test_setting_the_same_again_changes_nothing(used: Home) -> None:
    assert set_prices("--input", "0.2").status == 0
    before = truth(used)
    again = set_prices("--input", "0.200")
    assert again.status == 0
    assert (again.json["changed"], again.json["adopted"], again.json["changes"]) == (False, False, [])
    assert truth(used) == before
    told = keledger("--pretty", "prices", "set", MODEL, "--input", "0.2", "--reason", "our contract")
    assert (told.status, "Nothing changes: the home's prices are those already" in told.out) == (0, True)
    assert truth(used) == before


def test_a_price_in_the_way_is_named_and_replaced_only_when_asked(used: Home) -> None:
    assert set_prices("--input", "0.2").status == 0
    before = truth(used)
    refused = set_prices("--input", "0.3", "--from", "2026-12-01")
    assert refused.status == 1
    assert refused.complaint.startswith("openai/gpt-5-mini has a price of yours already, input_uncached 0.2 (always)")
    assert truth(used) == before
    assert set_prices("--input", "0.3", "--from", "2026-12-01", "--replace").status == 0
    december = 1_796_083_200_000_000
    assert [(cell.valid_from_us, cell.valid_to_us, *cell.usd_per_million.values()) for cell in own(used)] == [
        (-(2**62), december, "0.2"),
        (december, 2**62, "0.3"),
    ]
    assert len(adoptions(used)[-1]["layers"]) == 3


GIVEN = ("--input", "1")
REFUSED: list[tuple[tuple[str, ...], int, str]] = [
    (("--input", "-1"), 2, "--input: '-1' is negative: give USD per million units like 0.075"),
    (("--input", "0.0000001"), 2, "'0.0000001' has more than 6 decimals"),
    (("--input", "1000000000000"), 2, "has 10^12 or more"),
    (("--input", "1e-3"), 2, "'1e-3' is no plain number"),
    (("--input", "1_000"), 2, "is no plain number"),
    (("--input", "NaN"), 2, "is no plain number"),
    (("--input", "."), 2, "is no plain number"),
    (("--input", "٣"), 2, "is no plain number"),
    (("--input", ""), 2, "is no plain number"),
    (("--input", " 1"), 2, "' 1' is no plain number"),
    ((), 2, "no price is given"),
    (("--price", "output"), 2, "'output' is not like web_searches=10000"),
    (("--price", "web_search=1"), 2, "'web_search' is no bucket of usage: there is web_searches"),
    (("--price", "input_uncached=1", *GIVEN), 2, "the price of input_uncached is given twice"),
    ((*GIVEN, "--from", "2026-12-01", "--to", "2026-12-01"), 2, "2026-12-01 is not before 2026-12-01"),
    ((*GIVEN, "--from", "yesterday"), 2, "--from: 'yesterday' is no time"),
    ((*GIVEN, "--from", "2026-03-29T02:30"), 2, "the clocks of Europe/Berlin skip it"),
    ((*GIVEN, "--to", "2026-10-25T02:30"), 2, "the clocks of Europe/Berlin show it twice"),
    ((*GIVEN, "--context", "batch"), 2, "'batch' is no context: write key=value,key=value"),
    ((*GIVEN, "--context", "speed=fast,speed=slow"), 2, "each key once"),
    ((*GIVEN, "--context", "speed=very fast"), 2, "is no context"),
    ((*GIVEN, "--over", "-1"), 2, "--over"),
    ((*GIVEN, "--minutes", "22:00-06:00"), 2, "give what passes midnight as two prices"),
    ((*GIVEN, "--minutes", "08:00-08:00"), 2, "give what passes midnight as two prices"),
    ((*GIVEN, "--minutes", "08:60-09:00"), 2, "are no minutes of the day"),
    ((*GIVEN, "--minutes", "00:00-24:01"), 2, "are no minutes of the day"),
    ((*GIVEN, "--weekdays", "mon-fry"), 2, "are no weekdays"),
    ((*GIVEN, "--reason", " "), 1, "a reason is missing"),
    ((*GIVEN, "--reason", "x" * 5000), 1, "reason is 5000 bytes long, 4096 are allowed"),
]


@pytest.mark.parametrize(("arguments", "status", "sentence"), REFUSED, ids=[case[2] for case in REFUSED])
def test_what_is_wrong_is_refused_in_one_sentence_and_nothing_is_adopted(
    used: Home, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], status: int, sentence: str
) -> None:
    monkeypatch.setenv("KELEDGER_TZ", "Europe/Berlin")
    before = truth(used)
    done = set_prices(*arguments)
    assert done.status == status
    assert sentence in done.complaint
    assert done.out == ""
    assert truth(used) == before


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("gpt-5-mini", "names no provider and model: write PROVIDER/MODEL, such as github-copilot/gpt-5-mini"),
        ("nobody-knows", "write PROVIDER/MODEL, such as openai/gpt-5-mini"),
        ("/gpt-5-mini", "names no provider and model"),
        ("openai/", "names no provider and model"),
        (f"openai/{'x' * 257}", "a name is at most 256 bytes long"),
    ],
)
@pytest.mark.parametrize("command", [("set", "--input", "1"), ("unset",)])
def test_a_price_is_of_one_model_of_one_provider(
    used: Home, command: tuple[str, ...], model: str, sentence: str
) -> None:
    before = truth(used)
    done = keledger("prices", *command, "-yy", "--reason", "x", "--", model)
    assert (done.status, sentence in done.complaint) == (2, True), done.err
    assert truth(used) == before


def test_without_consent_nothing_is_adopted(used: Home) -> None:
    before = truth(used)
    for given in ("--json", "--pretty"):
        refused = keledger("prices", "set", MODEL, "--cache-read", "1", "--reason", "x", given)
        assert refused.status == 1
        assert refused.complaint == (
            "nothing was adopted, for nobody can be asked here: look at it with --dry-run, then give --yes"
        )
    dry = keledger("prices", "set", MODEL, "--cache-read", "1", "--reason", "x", "--dry-run")
    assert dry.status == 0
    assert (dry.json["changed"], dry.json["adopted"], dry.json["event"]) == (True, False, None)
    assert dry.json["effect"]["totals"]["changed_calls"] == 2
    shown = keledger("prices", "set", MODEL, "--cache-read", "1", "--reason", "x", "--dry-run", "-yy", "--pretty")
    assert "Nothing was adopted: this was a dry run." in shown.out
    assert truth(used) == before


def test_a_change_of_most_calls_needs_consent_twice(used: Home) -> None:
    with Ledger.open(used.path) as ledger:
        ledger.record_many([call(id="fourth"), call(id="fifth"), call(id="sixth")])
    before = truth(used)
    once = keledger("prices", "set", MODEL, "--input", "1", "--reason", "x", "--yes")
    assert once.status == 1
    assert once.complaint.endswith(
        "then give --yes twice, for more than half of all calls would cost something else by them"
    )
    assert truth(used) == before
    twice = keledger("prices", "set", MODEL, "--input", "1", "--reason", "x", "--yes", "--yes")
    assert (twice.status, twice.json["adopted"]) == (0, True)
    totals = twice.json["effect"]["totals"]
    assert (totals["changed_calls"], twice.json["effect"]["counted_calls"]) == (5, 8)


def test_a_terminal_is_asked_and_no_is_no(used: Home) -> None:
    before = truth(used)
    refused = keledger_terminal("prices", "set", MODEL, "--input", "1", "--reason", "x", typed="n\n")
    assert refused.status == 1
    assert "Adopt these prices for calls from now on? [y/N]: " in refused.out
    assert refused.out.endswith("keledger: nothing was adopted\n")
    assert truth(used) == before
    done = keledger_terminal("prices", "set", MODEL, "--input", "1", "--reason", "x", typed="y\n")
    assert done.status == 0, done.out
    assert "New calls are priced by book" in done.out
    assert adoptions(used)[-1]["reason"] == "x"


def test_a_terminal_is_asked_twice_where_most_calls_change(used: Home) -> None:
    with Ledger.open(used.path) as ledger:
        ledger.record_many([call(id="fourth"), call(id="fifth"), call(id="sixth")])
    before = truth(used)
    half = keledger_terminal("prices", "set", MODEL, "--input", "1", "--reason", "x", typed="y\nn\n")
    assert half.status == 1
    assert "By these prices 5 of all 8 calls would cost something else: is that right? [y/N]: " in half.out
    assert truth(used) == before
    done = keledger_terminal("prices", "set", MODEL, "--input", "1", "--reason", "x", typed="y\ny\n")
    assert done.status == 0, done.out


def test_a_terminal_is_offered_to_price_what_had_no_price(used: Home) -> None:
    offered = keledger_terminal("prices", "set", "acme/unheard-of", "--input", "3", "--reason", "x", typed="y\ny\ny\n")
    assert offered.status == 0, offered.out
    assert "1 call without a price would have one now. Price them again" in offered.out
    assert [event["type"] for event in events(used)][-2:] == ["prices.adopted", "reprice.applied"]
    daily = keledger("daily").json["totals"]
    assert daily["unpriced_calls"] == 0


def test_the_offer_may_be_left(used: Home) -> None:
    offered = keledger_terminal("prices", "set", "acme/unheard-of", "--input", "3", "--reason", "x", typed="y\nn\n")
    assert offered.status == 0, offered.out
    assert events(used)[-1]["type"] == "prices.adopted"


def unset(*arguments: str, model: str = MODEL) -> Outcome:
    return keledger("prices", "unset", model, "-yy", "--reason", "it ended", *arguments)


def test_taking_back_lets_the_lists_hold_again(used: Home) -> None:
    assert set_prices("--input", "0.2", "--cache-read", "0.01").status == 0
    assert set_prices("--input", "9", "--context", "processing=batch").status == 0
    assert set_prices("--input", "5", model="acme/other").status == 0
    part = unset("--price", "cache_read", "--from", "2026-12-01")
    assert part.status == 0, part.err
    (change,) = part.json["changes"]
    assert (change["bucket"], change["old_usd_per_million"], change["new_usd_per_million"], change["valid_from"]) == (
        "cache_read",
        "0.01",
        "0.025",
        "2026-12-01T00:00:00.000000Z",
    )
    assert unset("--context", "").status == 0
    assert {(cell.model, cell.context) for cell in own(used)} == {("gpt-5-mini", "processing=batch"), ("other", "")}
    assert unset().status == 0
    assert unset(model="acme/other").status == 0
    assert own(used) == ()
    assert adoptions(used)[-1]["book"] == shipped_manifest().sha256
    assert not verify(used).damaged


def test_what_was_not_set_is_not_taken_back(used: Home) -> None:
    assert set_prices("--input", "0.2", "--over", "1000").status == 0
    before = tree_bytes(used.path / "journal")
    for arguments, status, sentence in (
        (("--over", "2000"), 1, "fits that; there is: input_uncached 0.2 (above 1000 input tokens)"),
        (("--price", "output_text"), 1, "no price that you have set for openai/gpt-5-mini fits that"),
        (("--price", "output"), 2, "'output' is no bucket"),
    ):
        done = unset(*arguments)
        assert (done.status, sentence in done.complaint) == (status, True), done.err
    assert unset(model="acme/other").complaint == "no price of acme/other was set by you: nothing to take back"
    assert tree_bytes(used.path / "journal") == before
