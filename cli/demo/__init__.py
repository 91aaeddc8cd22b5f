"""The stage of ``keledger demo`` and of the tests: a provider on 127.0.0.1, and a way to lead KePrompt to it."""

from __future__ import annotations

from pathlib import Path

from .provider import Answer, LocalProvider, Request, Sent, ToolCall

REDIRECT = Path(__file__).parent / "redirect"
"""A folder for PYTHONPATH: with it, requests of the library `requests` go to ``KELEDGER_LOCAL_PROVIDER``."""

__all__ = ["REDIRECT", "Answer", "LocalProvider", "Request", "Sent", "ToolCall"]
