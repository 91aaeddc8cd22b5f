"""The helper beside one KePrompt that was not started by ``keledger run``: the server of its calls, and what estimates.

``journal/capture/client.py`` starts it in keledger's own interpreter, by this module's name.
"""

from __future__ import annotations

from keledger.journal.capture import serve_client

TYPE_CHECKING = False  # as typing has it, without its import
if TYPE_CHECKING:
    from keledger.journal.capture import Estimating


def serve() -> None:
    """Serve the client at stdin until it ends."""
    serve_client(open_estimating)


def open_estimating() -> Estimating:
    """What estimates the calls of the home in use, opened when one is first to be estimated."""
    from keledger.journal import Home
    from keledger.projections import CallEstimator

    return CallEstimator(Home.at())
