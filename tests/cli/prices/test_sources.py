"""``keledger prices update`` and ``import``: a new list above the old, and nothing of the user's touched."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keledger.journal import Home, Ledger, current_prices, replaced_layer, verify
from keledger.journal.prices import BookManifest, Cell, parse_layer, shipped_manifest, write_layer
from tests.cli.support import Outcome, keledger, keledger_process, keledger_terminal, truth
from tests.journal.support import calls, events

RELEASE = importlib.metadata.version("genai-prices")
if RELEASE != "0.2.3":
    pytest.skip("another genai-prices than the shipped list's 0.2.3 is installed", allow_module_level=True)

EXCERPTS = Path(__file__).parents[2] / "prices" / "sources" / "excerpts"
OPENROUTER = {
    "data": [
        {"id": "acme/one", "pricing": {"prompt": "0.000001", "completion": "0.000004", "image": "0.01"}},
        {"id": "acme/two", "pricing": {"prompt": "0.0000012345678", "completion": "0.000004"}},
        {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
    ]
}
YESTERDAY = "2026-11-20"


def update(*arguments: str) -> Outcome:
    return keledger("prices", "update", "-yy", "--reason", "the new list", *arguments)


def import_prices(raw: object, *arguments: str) -> Outcome:
    return keledger("prices", "import", "-", "-yy", "--reason", "theirs", *arguments, given=json.dumps(raw))


def layers(home: Home) -> list[tuple[str, str, str]]:
    return [(layer.kind, layer.name, layer.date) for layer in current_prices(home).manifest.layers]


def cells(home: Home, name: str) -> tuple[Cell, ...]:
    manifest, store = current_prices(home)
    (sha256,) = [layer.sha256 for layer in manifest.layers if layer.name == name]
    return parse_layer(store.read(sha256))[1]


def price_of(
    home: Home, provider: str, model: str, at: str | None = None, bucket: str = "input_uncached"
) -> str | None:
    """What a new call is priced by."""
    with Ledger.open(home.path) as ledger:
        time = {"time": at} if at is not None else {}
        ledger.record(provider=provider, model=model, usage={bucket: 1_000_000}, **time)
    total: str | None = calls(home)[-1]["data"]["cost"].get("total_usd")
    return total


@pytest.fixture
def older(used: Home) -> Callable[[str], BookManifest]:
    """Has the home adopt a list like the shipped one, named as another release and with another model in it."""

    def adopt(release: str) -> BookManifest:
        manifest, store = current_prices(used)
        (listed,) = [layer for layer in manifest.layers if layer.name.startswith("genai-prices")]
        header, known = parse_layer(store.read(listed.sha256))
        gone = Cell("acme", "gone", "", {"input_uncached": "7"})
        changed = [
            cell._replace(usd_per_million={**cell.usd_per_million, "input_uncached": "9"})
            if (cell.provider, cell.model) == ("openai", "gpt-5-mini")
            else cell
            for cell in known
        ]
        content = write_layer(header._replace(name=f"genai-prices {release}"), [*changed, gone])
        rule = {"provider": "acme", "model": "gone", "exact": ["gone", "gone-for-good"]}
        lines = [
            *store.read(manifest.names).splitlines(),
            *(json.dumps(each).encode() for each in ({"provider": "acme"}, rule)),
        ]
        names = b"\n".join(lines).replace(b'": ', b'":').replace(b'", "', b'","') + b"\n"
        adoption = replaced_layer(manifest, "list", content, header.name, names=names)
        with Ledger.open(used.path) as ledger:
            ledger.adopt_prices(adoption, "an older list", based_on=manifest.sha256)
        return adoption.manifest

    return adopt


def test_the_installed_release_is_the_shipped_list_and_changes_nothing(used: Home) -> None:
    before = truth(used)
    done = update()
    assert done.status == 0, done.err
    told = done.json
    assert (told["report"], told["changed"], told["adopted"]) == ("prices_update", False, False)
    assert told["book"] == shipped_manifest().sha256
    assert told["taken"] == {"models": 2312, "prices": 39266}
    assert len(told["rounded"]) == 94
    assert truth(used) == before


def test_an_update_replaces_the_list_and_keeps_what_it_dropped(
    used: Home, older: Callable[[str], BookManifest]
) -> None:
    older("0.2.2")
    assert price_of(used, "openai", "gpt-5-mini") == "9"
    keledger("prices", "set", "openai/gpt-5", "--input", "3", "-yy", "--reason", "our contract")
    import_prices(OPENROUTER)
    done = update()
    assert done.status == 0, done.err
    told = done.json
    assert (told["adopted"], told["carried"]) == (True, {"models": 1, "prices": 1})
    changes = {(row["model"], row["bucket"], row["context"]): row for row in told["changes"]}
    assert {model for model, _, _ in changes} == {"gpt-5-mini"}
    row = changes["gpt-5-mini", "input_uncached", ""]
    assert (row["old_usd_per_million"], row["new_usd_per_million"]) == ("9", "0.25")
    today = datetime.now(UTC).date().isoformat()
    assert layers(used) == [
        ("user", "user prices", today),
        ("imported", "openrouter", today),
        ("list", "corrections 2026-11-21", "2026-11-21"),
        ("list", "genai-prices 0.2.3", "2026-11-10"),
    ]
    assert events(used)[-1]["data"]["reason"] == "the new list"
    carried = [cell for cell in cells(used, "genai-prices 0.2.3") if cell.carried_from is not None]
    assert carried == [Cell("acme", "gone", "", {"input_uncached": "7"}, carried_from="genai-prices 0.2.2")]
    assert price_of(used, "openai", "gpt-5-mini") == "0.25"
    assert price_of(used, "openai", "gpt-5") == "3"
    assert price_of(used, "openrouter", "acme/one") == "1"
    assert price_of(used, "acme", "gone-for-good") == "7"
    assert not verify(used).damaged
    again = update()
    assert (again.json["changed"], again.json["carried"]) == (False, {"models": 1, "prices": 1})


def test_an_older_release_is_taken_only_where_that_is_said(used: Home, older: Callable[[str], BookManifest]) -> None:
    older("0.2.10")
    before = truth(used)
    done = update()
    assert done.status == 1
    assert "genai-prices 0.2.3 is installed, but the home's list is genai-prices 0.2.10" in done.complaint
    assert truth(used) == before
    assert update("--allow-older").json["adopted"]
    assert price_of(used, "openai", "gpt-5-mini") == "0.25"


def test_without_genai_prices_one_sentence_says_how_to_get_it(used: Home, tmp_path: Path) -> None:
    """In an environment of everything that is installed here, but genai-prices."""
    packages = tmp_path / "packages"
    packages.mkdir()
    paths = [Path(entry) for entry in sys.path if entry and Path(entry).is_dir()]
    for folder in paths:
        if folder.name == "site-packages":
            for found in folder.iterdir():
                if "genai_prices" not in found.name and not (packages / found.name).exists():
                    (packages / found.name).symlink_to(found)
    others = [str(path) for path in paths if path.name != "site-packages"]
    before = truth(used)
    done = subprocess.run(
        [sys.executable, "-S", "-m", "keledger", "prices", "update", "--reason", "x"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*others, str(packages)]), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr == (
        "keledger: genai-prices is not installed, from which the price list comes: "
        "get it with pip install 'keledger[prices]'\n"
    )
    assert truth(used) == before


def test_an_import_is_a_layer_above_the_list(used: Home) -> None:
    done = import_prices(OPENROUTER)
    assert done.status == 0, done.err
    told = done.json
    today = datetime.now(UTC).date().isoformat()
    assert (told["report"], told["adopted"]) == ("prices_import", True)
    assert told["layer"] == {
        "kind": "imported", "name": "openrouter", "source": "openrouter.ai/api/v1/models, as saved by the user",
        "date": today,
    }  # fmt: skip
    assert told["taken"]["models"] == 2
    assert told["skipped"] == ["openrouter auto: its price depends on the model that a request is routed to"]
    assert told["rounded"][0].startswith("openrouter acme/two ")
    assert told["without_bucket"] == ["openrouter acme/one image 0.01 USD an image"]
    assert layers(used) == [("imported", "openrouter", today), *layers(used)[1:]]
    assert price_of(used, "openrouter", "acme/one") == "1"
    assert price_of(used, "openrouter", "acme/two") == "1.234568"


def test_prices_without_a_date_hold_since_they_were_known_or_since_the_user_says(used: Home) -> None:
    assert import_prices(OPENROUTER, "--date", YESTERDAY).json["layer"]["date"] == YESTERDAY
    assert price_of(used, "openrouter", "acme/one", "2026-11-19T23:59:59Z") is None
    assert price_of(used, "openrouter", "acme/one", "2026-11-20T00:00:00Z") == "1"
    import_prices(OPENROUTER, "--date", YESTERDAY, "--from", "2026-11-19T12:00+01:00")
    assert price_of(used, "openrouter", "acme/one", "2026-11-19T10:59:59Z") is None
    assert price_of(used, "openrouter", "acme/one", "2026-11-19T11:00:00Z") == "1"


def test_a_second_import_takes_the_place_of_the_first_and_keeps_what_vanished(used: Home) -> None:
    import_prices(OPENROUTER, "--date", YESTERDAY)
    other = {"data": [{"id": "acme/one", "pricing": {"prompt": "0.000002", "completion": "0.000004"}}]}
    done = import_prices(other, "--date", "2026-11-21")
    assert done.json["carried"]["models"] == 2
    assert [layer[:2] for layer in layers(used)].count(("imported", "openrouter")) == 1
    assert {cell.carried_from for cell in cells(used, "openrouter")} == {None, "openrouter 2026-11-20"}
    assert price_of(used, "openrouter", "acme/one", "2026-11-20T12:00:00Z") == "1"
    assert price_of(used, "openrouter", "acme/one", "2026-11-21T12:00:00Z") == "2"
    assert price_of(used, "openrouter", "acme/two", "2026-11-21T12:00:00Z") == "1.234568"
    assert not import_prices(other, "--date", "2026-11-21").json["changed"]


def test_another_name_is_another_layer_and_the_newest_import_is_the_strongest(used: Home) -> None:
    import_prices(OPENROUTER, "--name", "first")
    other = {"data": [{"id": "acme/one", "pricing": {"prompt": "0.000002", "completion": "0.000004"}}]}
    import_prices(other, "--name", "second")
    assert [layer[1] for layer in layers(used)][:2] == ["second", "first"]
    assert price_of(used, "openrouter", "acme/one") == "2"
    assert price_of(used, "openrouter", "acme/two") == "1.234568"


def test_an_earlier_list_of_the_same_name_is_taken_only_where_that_is_said(used: Home) -> None:
    import_prices(OPENROUTER, "--date", "2026-11-21")
    before = truth(used)
    done = import_prices(OPENROUTER, "--date", YESTERDAY)
    assert done.status == 1
    assert "stdin was known on 2026-11-20, but the home's openrouter on 2026-11-21" in done.complaint
    assert truth(used) == before
    assert import_prices(OPENROUTER, "--date", YESTERDAY, "--allow-older").json["adopted"]


def test_what_the_list_knows_apart_is_not_inferred_from_a_file_that_does_not_mention_it(used: Home) -> None:
    raw = {"gpt-5": {"litellm_provider": "openai", "input_cost_per_token": 5e-6, "output_cost_per_token": 6e-6}}
    import_prices(raw, "--from", "2026-01-01")
    assert price_of(used, "openai", "gpt-5") == "5"
    assert price_of(used, "openai", "gpt-5", bucket="cache_read") == "0.125"
    assert price_of(used, "openai", "gpt-5", bucket="output_reasoning") == "6"


def test_only_some_providers_of_a_file(used: Home) -> None:
    path = str(EXCERPTS / "litellm.json")
    done = keledger("prices", "import", path, "-yy", "--reason", "x", "-p", "xai", "--provider", "DeepSeek")
    assert done.status == 0, done.err
    assert {cell.provider for cell in cells(used, "litellm")} == {"x-ai", "deepseek"}


def test_calls_that_are_journaled_stay_as_they_are_and_the_preview_tells_of_them(used: Home) -> None:
    before = calls(used)
    raw = {"gpt-5-mini": {"litellm_provider": "openai", "input_cost_per_token": 1e-6, "output_cost_per_token": 6e-6}}
    arguments = ("prices", "import", "-", "--reason", "x", "--from", "2026-01-01")
    shown = keledger(*arguments, "--dry-run", given=json.dumps(raw)).json
    assert shown["effect"]["totals"]["changed_calls"] == 2
    assert (shown["adopted"], shown["dry_run"]) == (False, True)
    assert keledger(*arguments, "--yes", given=json.dumps(raw)).json["adopted"]
    assert calls(used) == before


def test_nothing_is_adopted_where_nobody_can_be_asked(used: Home) -> None:
    before = truth(used)
    done = keledger("prices", "import", "-", "--reason", "x", given=json.dumps(OPENROUTER))
    assert done.status == 1
    assert "nothing was adopted" in done.complaint
    assert truth(used) == before


REFUSED: list[tuple[list[str], object, int, str]] = [
    ([], {}, 1, "stdin is no price list of a form that is known here"),
    ([], [1], 1, "stdin holds no JSON object"),
    (["--source", "litellm"], OPENROUTER, 1, "does not look like a price list of litellm, but like one of openrouter"),
    (["--source", "acme"], OPENROUTER, 2, "Invalid value for '--source'"),
    (["--date", "2026-02-30"], OPENROUTER, 2, "is no day like 2026-11-21"),
    (["--date", "2999-01-01"], OPENROUTER, 2, "yet to come"),
    (["--from", "noon"], OPENROUTER, 2, "is no time"),
    (["--name", "a/b"], OPENROUTER, 2, "'a/b' is no name of a layer"),
    (["--name", "litellm "], OPENROUTER, 2, "'litellm ' is no name of a layer"),
    (["--name", "genai-prices 0.2.3"], OPENROUTER, 2, "'genai-prices 0.2.3' reads like genai-prices"),
    (["--name", "GenAI_prices 9"], OPENROUTER, 2, "'GenAI_prices 9' reads like genai-prices"),
    (["--name", "corrections of ours"], OPENROUTER, 2, "'corrections of ours' reads like corrections"),
    (["--name", "user prices"], OPENROUTER, 2, "'user prices' reads like user prices, which is no import"),
    (["--name", "User.Prices 2"], OPENROUTER, 2, "'User.Prices 2' reads like user prices"),
    (["--provider", "openrouter", "--provider", " "], OPENROUTER, 2, "the provider's name is empty"),
    ([], {"data": [*OPENROUTER["data"], {"id": "acme/one"}]}, 1, "stdin has two prices for the same time, those of"),
    (["--provider", "acme"], OPENROUTER, 1, "stdin has no price of acme that can be taken in"),
    (["--reason", " "], OPENROUTER, 1, "a reason is missing"),
]


@pytest.mark.parametrize(("arguments", "raw", "status", "sentence"), REFUSED)
def test_what_cannot_be_taken_is_refused_in_one_sentence(
    used: Home, arguments: list[str], raw: object, status: int, sentence: str
) -> None:
    before = truth(used)
    done = import_prices(raw, *arguments)
    assert done.status == status
    assert sentence in done.complaint
    assert truth(used) == before


def test_a_long_name_is_not_repeated_whole(used: Home) -> None:
    done = import_prices(OPENROUTER, "--name", "x" * 3000)
    assert (done.status, "x" * 60 in done.complaint, len(done.complaint) < 300) == (2, True, True)


def test_a_name_between_those_of_others_is_taken(used: Home) -> None:
    for name in ("user", "genai", "my corrections", "openrouter 2026-11"):
        assert import_prices(OPENROUTER, "--name", name).json["layer"]["name"] == name


def test_rows_that_overlap_adopt_nothing(used: Home, tmp_path: Path) -> None:
    before = truth(used)
    path = tmp_path / "historical-v1.json"
    row = {"id": "a", "vendor": "acme", "name": "A", "output": 2, "input_cached": None}
    spans = ({"from_date": "2026-01-01", "to_date": None}, {"from_date": None, "to_date": "2026-02-01"})
    path.write_text(json.dumps({"prices": [{**row, "input": n, **span} for n, span in enumerate(spans, start=1)]}))
    done = keledger("prices", "import", str(path), "-yy", "--reason", "x")
    assert done.status == 1
    assert done.complaint == (
        f"{path} has two prices for the same time, for input of acme/a 1 (from 2026-01-01) and 2 (until 2026-02-01): "
        "leave one of them out"
    )
    assert truth(used) == before


def test_models_that_a_file_has_twice_are_told_without_being_asked_for(used: Home) -> None:
    path = str(EXCERPTS / "model_prices.json")
    arguments = ("prices", "import", path, "-yy", "--reason", "x", "--dry-run")
    entry = (
        "thinkingmachines inkling: inkling and thinkingmachines/Inkling are one model here, at other prices (always)"
    )
    assert keledger(*arguments).json["contested"] == [entry]
    assert f"so that neither was taken:\n  {entry}\n" in keledger_terminal(*arguments, columns=160).out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", ""), "the model's name is empty"),
        (("show", " "), "the model's name is empty"),
        (("import", "", "--reason", "x"), "the file's name is empty"),
    ],
)
def test_an_empty_argument_is_named(used: Home, arguments: tuple[str, ...], sentence: str) -> None:
    done = keledger("prices", *arguments)
    assert done.status == 2
    assert sentence in done.complaint


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_a_file_that_cannot_be_read(used: Home, name: str, tmp_path: Path) -> None:
    done = keledger("prices", "import", str(tmp_path / name), "--reason", "x")
    assert done.status == 1
    assert "cannot be read" in done.complaint


def test_a_torn_file_adopts_nothing(used: Home) -> None:
    before = truth(used)
    done = keledger_process(
        "prices", "import", "-", "-yy", "--reason", "x", given=(EXCERPTS / "litellm.json").read_bytes()[:9000]
    )
    assert (done.status, "stdin is not JSON at line" in done.complaint) == (1, True)
    assert truth(used) == before


def test_people_see_what_was_taken_and_with_verbose_what_was_not(used: Home, tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_text(json.dumps(OPENROUTER))
    arguments = ("prices", "import", str(path), "-yy", "--reason", "x")
    assert "bucket has (--verbose names them).\n" in keledger_terminal(*arguments, "--dry-run", columns=160).out
    done = keledger_terminal(*arguments, "--verbose", columns=160)
    assert (done.status, "--verbose" in done.out) == (0, False)
    assert "of 2 models taken." in done.out
    assert "Prices that no bucket has:\n  openrouter acme/one image 0.01 USD an image" in done.out
    assert "New calls are priced by book" in done.out


def test_a_home_without_a_journal_can_take_prices_in(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KELEDGER_HOME", str(home.path))
    assert import_prices(OPENROUTER, "--dry-run").json["changed"]
    assert not home.path.exists()
    assert import_prices(OPENROUTER).json["adopted"]
    assert price_of(home, "openrouter", "acme/one") == "1"
    assert not verify(home).damaged


def test_the_user_s_layer_is_the_same_file_after_both(used: Home) -> None:
    keledger("prices", "set", "openai/gpt-5", "--input", "3", "-yy", "--reason", "our contract")
    before = current_prices(used).manifest.layers[0]
    import_prices(OPENROUTER)
    update()
    assert current_prices(used).manifest.layers[0] == before
    assert before.kind == "user"
