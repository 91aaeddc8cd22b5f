"""``keledger void``: to correct what was journaled, without changing it."""

from __future__ import annotations

import click

from keledger.journal import KeledgerError, Ledger
from keledger.projections import open_projection, report_call

from ._group import command
from ._options import Settings, common_options, pass_settings
from ._output import write_json
from ._progress import Progress


@command(
    name="void",
    examples=(
        "keledger void 019aa8d7-2c5b --reason 'a test that was journaled by mistake'",
        "keledger void 019aa8d7-2c5b --undo --reason 'it was billed after all'",
    ),
)
@click.argument("call_id", metavar="ID")
@click.option("--reason", metavar="TEXT", required=True, help="Why, for whoever reads the journal later.")
@click.option("--undo", is_flag=True, help="Let a voided call count again.")
@common_options
@pass_settings
def void(settings: Settings, call_id: str, reason: str, undo: bool) -> None:
    """Take a call out of every report, or back in.

    ID is an event id or the beginning of one that no other call has.  The call stays in the journal; an event beside
    it says that it does not count, who said so and why.
    """
    with Progress("catching up") as progress, open_projection(settings.home, on_progress=progress) as projection:
        (row,) = report_call(projection, call_id).rows
    whole_id, voided = str(row["id"]), row["uncounted"] == "voided"
    if voided is not undo:
        raise KeledgerError(f"call {whole_id} is {'voided already' if voided else 'not voided'}: nothing was written")
    with Ledger.open(settings.home_folder) as ledger:
        event_id = ledger.revert_void(whole_id, reason) if undo else ledger.void(whole_id, reason)
    if settings.as_json:
        shown = {"schema_version": 1, "report": "void", "id": event_id, "call_id": whole_id, "voided": not undo}
        write_json(shown)
    elif undo:
        click.echo(f"Call {whole_id} counts again.")
    else:
        click.echo(f"Call {whole_id} counts no more; keledger void {whole_id} --undo --reason TEXT takes that back.")
