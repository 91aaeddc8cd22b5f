"""Writing to the file that ``-o`` names: whole or not at all, and its owner's alone."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from keledger.journal import Home, KeledgerError, UsageError


@contextlib.contextmanager
def output_file(name: str, *, force: bool, home: Home) -> Iterator[BinaryIO]:
    """A file that gets its name when it is complete.  Stdout, a pipe and a device are written directly.

    Raises UsageError for a place in *home*: what stands there is not to be replaced, nor to be taken for keledger's.
    """
    if name == "-":
        yield sys.stdout.buffer
        return
    target = Path(os.path.realpath(name))
    if target.is_relative_to(os.path.realpath(home.path)):
        raise UsageError(f"{name} is in the home {home.path}, which holds the journal alone: give another place")
    if target.exists() and not target.is_file():
        try:
            with open(target, "wb") as file:
                yield file
        except BrokenPipeError:
            raise
        except OSError as error:
            raise KeledgerError(f"{name} cannot be written: {error.strerror}") from error
        return
    if target.exists() and not force:
        raise KeledgerError(f"{name} exists: give --force to replace it, or another name")
    if not name or not target.parent.is_dir():
        raise KeledgerError(f"{name or 'an empty name'} cannot be written: there is no folder {target.parent}")
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        try:
            yield cast(BinaryIO, file)
            file.close()
            os.replace(file.name, target)
        except OSError as error:
            os.unlink(file.name)
            raise KeledgerError(f"{name} cannot be written: {error.strerror}; nothing is left of it") from error
        except BaseException:
            os.unlink(file.name)
            raise
