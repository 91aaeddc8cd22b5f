"""``keledger replay``: the proof that the journal is enough."""

from __future__ import annotations

import time

import click

from keledger.projections import digest, open_projection, rebuild

from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import warn_findings, write_fields, write_json
from ._progress import Progress
from ._table import count, duration


@command(name="replay", examples=("keledger replay", "keledger replay --digest"))
@click.option("--digest", "with_digest", is_flag=True, help="Print the digest of the tables, and nothing else.")
@common_options
@pass_settings
def replay(settings: Settings, with_digest: bool) -> None:
    """Rebuild the projections from the journal.

    Every hash is checked on the way.  The digest is one number for all counted calls and their charges: equal for
    every copy of a journal, however its parts were put together.  With --json it stands among the figures.
    """
    home = settings.home_to_read()
    begun_s = time.monotonic()
    with Progress("rebuilding") as progress:
        rebuilt = rebuild(home, on_progress=progress)
    took_ms = round((time.monotonic() - begun_s) * 1000)
    shown: dict[str, object] = {
        "schema_version": 1,
        "report": "replay",
        "calls": rebuilt.calls,
        "events": rebuilt.calls + rebuilt.others,
        "duration_ms": took_ms,
        "position": dict(rebuilt.positions),
        "findings": [finding.as_json() for finding in rebuilt.findings],
    }
    if with_digest:
        with open_projection(home) as projection:
            shown["digest"] = digest(projection)
    if settings.json or (settings.as_json and not with_digest):
        write_json(shown)
    elif with_digest:
        click.echo(shown["digest"])
    else:
        write_fields(
            {
                "Calls": count(rebuilt.calls),
                "Events": count(rebuilt.calls + rebuilt.others),
                "Took": duration(took_ms),
            }
        )
    warn_findings(finding.as_json() for finding in rebuilt.findings)
