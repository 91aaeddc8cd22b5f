"""The stage of a real KePrompt, as the tests of the hook have it."""

from __future__ import annotations

from tests.keprompt.conftest import keprompt_of, provider, stage, stage_of

__all__ = ["keprompt_of", "provider", "stage", "stage_of"]
