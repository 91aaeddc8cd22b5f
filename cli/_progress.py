"""A progress bar for what may take long: on a terminal, on stderr, and only after two seconds."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

SHOWN_AFTER_S = 2.0
"""What is over before needs no bar."""


class Progress:
    """A context manager that is called with what is done and what there is in all, in any unit."""

    def __init__(self, label: str, *, hidden: bool = False) -> None:
        self._label = label
        self._hidden = hidden or not sys.stderr.isatty()
        self._begun_s = time.monotonic()
        self._bar: ProgressBar[int] | None = None
        self._shown = 0

    def __enter__(self) -> Progress:
        return self

    def __call__(self, done: int, total: int) -> None:
        """Tell how far it is."""
        if self._hidden or (self._bar is None and time.monotonic() - self._begun_s < SHOWN_AFTER_S):
            return
        if self._bar is None:
            self._bar = click.progressbar(length=total, label=self._label, file=sys.stderr)
            self._bar.render_progress()
        self._bar.update(done - self._shown)
        self._shown = done

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.render_finish()
