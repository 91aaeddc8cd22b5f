"""Whose call it is: every place that may say so, and which of two wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from keledger.journal import Home, HomeError, Ledger

from .support import USAGE, call, calls

PLACES = ("call", "variable", "folder", "config", "default")


@pytest.mark.parametrize("strongest", PLACES)
def test_the_stronger_place_wins(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strongest: str) -> None:
    says = PLACES[PLACES.index(strongest) :]
    folder = tmp_path / "work" / "below"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    home.path.mkdir(mode=0o700)
    if "config" in says:
        home.config.write_text('project = "config"\nteam = "team of config"\n[tags]\nplace = "config"\nconfig = "1"\n')
    if "folder" in says:
        (tmp_path / "work" / "keledger.toml").write_text('project = "folder"\n[tags]\nplace = "folder"\nfolder = "1"\n')
    if "variable" in says:
        monkeypatch.setenv("KELEDGER_PROJECT", "variable")
        monkeypatch.setenv("KELEDGER_TAGS", "place=variable, variable=1")
    fields = {"project": "call", "tags": {"place": "call"}} if "call" in says else {}
    with Ledger.open(home.path) as ledger:
        ledger.record(**call(**fields))
        with ledger.call(provider="openai", model="gpt-5-mini", **fields) as live:
            live.complete(USAGE)
    for event in calls(home):
        data = event["data"]
        assert data["project"] == {"default": "below"}.get(strongest, strongest)
        assert data.get("tags", {}).get("place") == (None if strongest == "default" else strongest)
        for place in set(says) & {"variable", "folder", "config"}:
            assert data["tags"][place] == "1"
        assert data.get("team") == ("team of config" if "config" in says else None)


def test_a_project_file_that_others_can_write_is_ignored(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "keledger.toml"
    file.write_text('project = "theirs"\n')
    file.chmod(0o666)
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    assert calls(home)[0]["data"]["project"] == tmp_path.name


def test_the_git_root_names_the_project(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "repository" / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "repository" / ".git").mkdir()
    monkeypatch.chdir(deep)
    with Ledger.open(home.path) as ledger:
        ledger.record(**call())
    assert calls(home)[0]["data"]["project"] == "repository"


def test_what_is_kept_of_a_folder_is_not_mixed_with_another_s_or_with_a_call_s(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "keledger.toml").write_text(f'team = "team {name}"\n[tags]\nfolder = "{name}"\n')
    own = {"team": "mine", "user": "ada", "tags": {"folder": "mine", "more": "1"}}
    with Ledger.open(home.path) as ledger:
        for name, fields in (("one", own), ("two", {}), ("one", {}), ("two", own), ("one", {})):
            monkeypatch.chdir(tmp_path / name)
            ledger.record(**call(**fields))
    said = [(data["project"], data["team"], data["tags"]) for data in (event["data"] for event in calls(home))]
    plain = {name: (name, f"team {name}", {"folder": name}) for name in ("one", "two")}
    own_of = {name: (name, "mine", own["tags"]) for name in ("one", "two")}
    assert said == [own_of["one"], plain["two"], plain["one"], own_of["two"], plain["one"]]


def test_a_broken_configuration_is_named(home: Home) -> None:
    home.path.mkdir(mode=0o700)
    home.config.write_text("project = ")
    with pytest.raises(HomeError, match=r"config\.toml cannot be read"):
        Ledger.open(home.path)


def test_pseudonyms_need_the_key_to_be_linked(home: Home) -> None:
    home.path.mkdir(mode=0o700)
    home.config.write_text('identity = "pseudonym"\n')
    for user in ("ada", "ada", "bob"):
        with Ledger.open(home.path) as ledger:
            ledger.record(**call(user=user))
    names = [event["data"]["user"] for event in calls(home)]
    assert names[0] == names[1] != names[2]
    assert all(name.startswith("u-") and len(name) == 26 for name in names)
    (home.path / "identity.key").unlink()
    with Ledger.open(home.path) as ledger:
        ledger.record(**call(user="ada"))
    assert calls(home)[-1]["data"]["user"] not in names
    assert all(event["data"]["os_user"].startswith("u-") for event in calls(home))


def test_a_broken_project_file_stops_a_record_but_not_a_live_call(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keledger.toml").write_text("project = ")
    with Ledger.open(home.path) as ledger:
        with pytest.raises(HomeError, match=r"keledger\.toml cannot be read"):
            ledger.record(**call())
        with ledger.call(provider="openai", model="gpt-5-mini") as live:
            live.complete(USAGE)
    (event,) = calls(home)
    assert event["data"]["repaired"] == ["unreadable:keledger.toml"]
    assert event["data"]["project"] == tmp_path.name
