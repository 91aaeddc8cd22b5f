"""The face of keledger: commands, tables, JSON.  No logic of its own.

``keledger.cli.main.main`` is the command line; ``keledger.cli.run.main`` is ``keledger run``, which starts its
child before click is imported.  So nothing is imported here.
"""

from __future__ import annotations

__all__: list[str] = []
