"""How many tokens the calls of a prompt took, by model: what an estimate of its next call rests on."""

from __future__ import annotations

import difflib

from keledger.journal import NotFound
from keledger.journal._tokenizers import load_tokenizers
from keledger.journal.estimates import CallProfile, Ratio

from . import _engine as engine
from ._projection import Projection

NEAR_SHOWN_MAX = 5
_NEAR_ENOUGH = 0.6

_PROMPTS = "SELECT DISTINCT prompt FROM call_fact WHERE prompt IS NOT NULL ORDER BY prompt"
_VERSIONS = "SELECT DISTINCT prompt_version FROM call_fact WHERE prompt = ? AND prompt_version IS NOT NULL ORDER BY 1"
_PROVIDERS = "SELECT DISTINCT provider FROM call_fact ORDER BY provider"


def prompt_profiles(projection: Projection, prompt: str, version: str | None = None) -> list[CallProfile]:
    """The profile of a prompt's answered calls on each model, the one that was called most first.

    With *version*, of that version of the prompt alone.  Raises NotFound that names what is near, where there is no
    such call.
    """
    condition = "c.prompt = ?" if version is None else "c.prompt = ? AND c.prompt_version = ?"
    parameters = [prompt] if version is None else [prompt, version]
    statement = engine.sql("duckdb_prompt_profile").format(condition=condition)
    profiles = [CallProfile(*row) for row in projection.query(statement, parameters)]
    if not profiles:
        raise NotFound(_missing(projection, prompt, version))
    return profiles


def called_providers(projection: Projection) -> list[str]:
    """The providers that any call of the home went to, as the calls name them."""
    return [str(provider) for (provider,) in projection.query(_PROVIDERS)]


def token_ratio(source: str, target: str) -> Ratio:
    """From the tokens of the model *source* to those of the model *target*, by ``data/tokenizers.toml``."""
    ratio = load_tokenizers().ratio(source, target)
    return Ratio(ratio.least, ratio.most)


def _missing(projection: Projection, prompt: str, version: str | None) -> str:
    prompts = [str(name) for (name,) in projection.query(_PROMPTS)]
    supposed = "give --input-tokens and --output-tokens instead"
    if prompt not in prompts:
        near = difflib.get_close_matches(prompt, prompts, n=NEAR_SHOWN_MAX, cutoff=_NEAR_ENOUGH)
        hint = f"did you mean {' or '.join(near)}? Else " if near else ""
        return f"there is no call of a prompt {prompt} yet: {hint}{supposed}"
    versions = [str(name) for (name,) in projection.query(_VERSIONS, [prompt])]
    if version is not None and version not in versions:
        known = f"there is {', '.join(versions[:NEAR_SHOWN_MAX])}" if versions else "its calls tell no version"
        return f"there is no call of the prompt {prompt} in version {version}: {known}"
    return f"no call of the prompt {prompt} was answered with a usage that is known: {supposed}"
