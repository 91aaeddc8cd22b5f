"""``keledger models``: what models can and cost, and which of them suits a prompt."""

from __future__ import annotations

import click

from ._group import Entry, LazyGroup

SECTIONS = {
    "Commands": {
        "list": Entry("keledger.cli._models_list:list_models", "Show models, what they can and what they cost."),
        "show": Entry("keledger.cli._models_show:show", "Show what is known of one model, and whence."),
        "suggest": Entry(
            "keledger.cli._models_suggest:suggest", "Show which models suit a prompt, the cheapest first."
        ),
    },
}


@click.group(cls=LazyGroup, sections=SECTIONS, name="models")
def models() -> None:
    """Show what models can and cost, and suggest one for a prompt.

    Quality, limits and capabilities are facts with a source and a date; your own stand over them, in the home's
    config.toml.  docs/models.md tells what they rest on.
    """
