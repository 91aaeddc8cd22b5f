"""What ``keledger run`` is asked for on its command line, and where.

The arguments are taken apart by hand, for click alone takes longer to import than the launcher may cost.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as typing has it, without its import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from keledger.journal.capture import Estimating

HELP = """\
Usage: keledger [--home DIR] run [OPTIONS] [--] COMMAND [ARGUMENT]...

Run a command and journal every model call that KePrompt makes in it, in the
scripts and tools it starts as well.  The command's output and exit status stay
its own; at the end one line on stderr says what its calls took and cost.

  keledger run -- keprompt chat new --prompt hello

Options:
  --project NAME      \\
  --user NAME          |  Whose calls these are.  What the prompt itself says
  --team NAME          |  stands above this, KELEDGER_PROJECT and the like,
  --cost-center NAME  /   keledger.toml and config.toml below.
  --tag KEY=VALUE     A tag of these calls; may be given again.
  --budget USD        What the whole run may cost: a call that could pass it is
                      not made.  An inner run can only tighten it.
  --confirm-above USD
                      Ask on the terminal before a call that may cost more (in
                      one of ten cases); without a terminal it is not made.
  --estimate          Show what the first call would take and cost, and make
                      none: the command ends there.  --json for JSON.
  --record            With --estimate: journal what was told.
  --estimates         Journal an estimate beside each call, so that those to
                      come are learned from it.
  --statements        Understand .budget and .cost_check in prompt files; a
                      KePrompt without this sends them to the model.
  -q, --quiet         No closing line.
  -h, --help          This text.

Exit status: the command's own, 128+n where signal n ended it; 127 where it is
not found, 126 where it cannot be executed, 2 where these options are wrong.
"""

ATTRIBUTES = {"--project": "project", "--user": "user", "--team": "team", "--cost-center": "cost_center"}


class WrongUsage(Exception):
    """The options make no sense; the message says how."""


class Request:
    """What was asked for on the command line."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.quiet = False
        self.help = False
        self.statements = False
        self.estimate = False
        self.record = False
        self.json: bool | None = None
        self.flags: dict[str, object] = {}
        self._tags: dict[str, str] = {}
        self.command: list[str] = []
        self._take(list(arguments))

    def _take(self, arguments: list[str]) -> None:
        while arguments and not self.help:
            argument = arguments.pop(0)
            name, equals, value = argument.partition("=")
            if argument == "--" or not argument.startswith("-"):
                self.command = arguments if argument == "--" else [argument, *arguments]
                break
            if argument in ("-h", "--help"):
                self.help = True
            elif argument in ("-q", "--quiet"):
                self.quiet = True
            elif argument == "--statements":
                self.statements = True
            elif argument == "--estimate":
                self.estimate = self.flags["estimate"] = True
            elif argument == "--estimates":
                self.flags["estimates"] = True
            elif argument == "--record":
                self.record = True
            elif argument in ("--json", "--pretty"):
                self.json = argument == "--json"
            elif name in ("--tag", "--budget", "--confirm-above") or name in ATTRIBUTES:
                if not equals and not arguments:
                    raise WrongUsage(f"{name} needs a value")
                self._set(name, value if equals else arguments.pop(0))
            else:
                raise WrongUsage(f"unknown option {name}; put -- in front of the command")
        if not self.command and not self.help:
            raise WrongUsage("no command given; try: keledger run -- keprompt chat new --prompt hello")
        if (self.record or self.json is not None) and not self.estimate and not self.help:
            raise WrongUsage("--record, --json and --pretty go with --estimate")
        if self.estimate and not self.flags.keys().isdisjoint(("confirm_above", "estimates")):
            raise WrongUsage("--estimate makes no call: leave out --confirm-above and --estimates")

    def _set(self, name: str, value: str) -> None:
        if name == "--tag":
            self._tags.update([_tag(value)])
            self.flags["tags"] = self._tags
        elif name in ("--budget", "--confirm-above"):
            self.flags[name[2:].replace("-", "_")] = _limit(name, value)
        else:
            self.flags[ATTRIBUTES[name]] = value


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    plain = key.replace("_", "").replace(".", "").replace("-", "")
    well_formed = key[:1].isalpha() and plain.isalnum() and key.isascii() and key == key.lower()
    if not equals or not well_formed or len(key) > 63:
        raise WrongUsage(f"--tag {text}: give KEY=VALUE, the key of small letters, digits, and . _ - after the first")
    return key, value


def _limit(option: str, text: str) -> str:
    from keledger.journal.capture.declared import WrongBudget, limit_usd

    try:
        return limit_usd(text, or_zero=option == "--confirm-above")
    except WrongBudget as error:
        raise WrongUsage(f"{option}: {error}") from None


def open_estimating(home: str) -> Estimating:
    """What estimates the calls of a home, opened when one is first to be estimated."""
    from keledger.journal import Home
    from keledger.projections import CallEstimator

    return CallEstimator(Home.at(home))


def home_folder(given: str | None) -> str:
    """The home as an absolute path: *given*, ``KELEDGER_HOME``, ``$XDG_DATA_HOME/keledger``, the default."""
    chosen = given or os.environ.get("KELEDGER_HOME")
    if not chosen:
        data = os.environ.get("XDG_DATA_HOME", "")
        chosen = (data if data.startswith("/") else "~/.local/share") + "/keledger"
    return os.path.abspath(os.path.expanduser(chosen))


def say(sentence: str) -> None:
    """Write one line to stderr."""
    if sys.stderr is not None:
        sys.stderr.write(f"keledger: {sentence}\n")
        sys.stderr.flush()
