"""``docs/commands.md`` has a section for every command, which names every option and exit status of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from keledger.cli._group import STATUSES, Command, LazyGroup
from keledger.cli.main import program

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
COMMON = {"home", "json"}
"""Options that all commands take: described once."""


def sections() -> dict[str, str]:
    """The page's sections by the command in their heading."""
    parts = re.split(r"^### `keledger ([a-z ]+)[^`]*`$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    names = [name.strip() for name in parts[1::2]]
    assert len(set(names)) == len(names)
    return dict(zip(names, parts[2::2], strict=True))


def commands() -> Iterator[tuple[str, click.Command]]:
    for name, entry in program.entries():
        command = entry.load()
        if isinstance(command, LazyGroup):
            yield from ((f"{name} {subname}", part.load()) for subname, part in command.entries())
        elif isinstance(command, click.Group):
            yield from ((f"{name} {subname}", part) for subname, part in command.commands.items())
        else:
            yield name, command


COMMANDS = dict(commands())


def test_the_page_has_a_section_for_each_command_and_for_nothing_else() -> None:
    assert set(sections()) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_section_names_every_option(name: str) -> None:
    text = sections()[name]
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option) and parameter.name not in COMMON:
            for spelling in (*parameter.opts, *parameter.secondary_opts):
                assert re.search(rf"`[^`]*(?<![\w-]){re.escape(spelling)}(?![\w-])[^`]*`", text), spelling


def stated(text: str) -> set[int]:
    """The exit statuses that a text tells of."""
    return {
        int(status) for status in re.findall(r"exit status(?:es)? (?:is |are )?\(?(\d+)", text, flags=re.IGNORECASE)
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_a_section_and_its_commands_help_tell_of_the_same_exit_statuses(name: str) -> None:
    command = COMMANDS[name]
    if isinstance(command, Command):
        assert stated(sections()[name]) - set(STATUSES) == set(command.statuses) - set(STATUSES)


def test_the_table_of_exit_statuses_has_each_once_and_names_the_commands_of_3() -> None:
    table = re.findall(r"^\| (\d+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    of_commands = {name: set(command.statuses) for name, command in COMMANDS.items() if isinstance(command, Command)}
    reserved = {4}
    assert [int(status) for status, _ in table] == sorted({*STATUSES, *set().union(*of_commands.values()), *reserved})
    named = set(re.findall(r"`([a-z]+)`", dict(table)["3"]))
    assert named == {name for name, statuses in of_commands.items() if 3 in statuses}


def test_the_common_options_are_described_once() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for parameter in program.params:
        for spelling in (*parameter.opts, *parameter.secondary_opts):
            assert f"`{spelling}" in text or f", {spelling}" in text, spelling
