"""``keledger estimate FILE.prompt``: a KePrompt prompt, rendered by KePrompt itself up to its first call."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from keledger.journal import InputRefused, UsageError

from ._estimate_input import PROMPT_SUFFIX, Given, model_names
from ._options import Settings
from ._run_estimate import show_estimate
from ._run_request import Request, home_folder

FOLDER = "prompts"
"""Where KePrompt looks for prompts, below its working folder."""

NOT_FOR_PROMPTS = ("max_output_tokens", "prompt", "prompt_version", "context")
"""What a prompt says itself."""


def estimate_prompt(settings: Settings, told: Given, given: Mapping[str, Any]) -> None:
    """Run KePrompt on the prompt up to its first call, and show what that would take and cost.

    Raises InputRefused where the file is none of KePrompt's, or KePrompt is not installed; exits with KePrompt's own
    status where it makes no call, after its own message.
    """
    for name in NOT_FOR_PROMPTS:
        if given[name]:
            raise UsageError(f"--{name.replace('_', '-')} does not go with a prompt file, which says that itself")
    path = Path(told.name).absolute()
    if path.suffix != PROMPT_SUFFIX or path.parent.name != FOLDER:
        raise InputRefused(
            f"{told.name} is not where KePrompt finds a prompt: it must stand in a folder {FOLDER}/ and end in "
            f"{PROMPT_SUFFIX}"
        )
    if not _has_content(path):
        raise InputRefused(f"{told.name} is empty: write what KePrompt is to do, such as .prompt, .user and .exec")
    keprompt = shutil.which("keprompt")
    if keprompt is None:
        raise InputRefused("a prompt file is rendered by KePrompt, and no keprompt is on PATH: pip install keprompt")
    command = [keprompt, "chat", "new", "--prompt", path.stem, "--json"]
    for value in given["values"]:
        if not value.partition("=")[0].strip() or "=" not in value:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE", param_hint="--set")
        command += ["--set", value]
    options = ["--estimate", *(["--record"] if given["record"] else [])]
    if settings.json is not None:
        options.append("--json" if settings.json else "--pretty")
    home = home_folder(settings.home_folder)  # a relative one is meant from here
    before = Path.cwd()
    os.chdir(path.parent.parent)
    try:
        status = show_estimate(
            Request([*options, "--", *command]), home, models=model_names(given["models"]), calls=given["calls"]
        )
    finally:
        os.chdir(before)
    if status:
        raise click.exceptions.Exit(status)


def _has_content(path: Path) -> bool:
    """Whether there is anything in a prompt file; of what cannot be read KePrompt tells better."""
    try:
        return bool(path.read_bytes().strip())
    except OSError:
        return True
