"""Waits, in any python, for KePrompt's provider module, and brings keledger's client file in just before it.

This is all that a python which calls no model ever runs of keledger, so it imports nothing but ``sys`` and
keeps to a syntax that old pythons read.  It gets in two ways: ``keledger run`` puts this folder on PYTHONPATH
(see ``sitecustomize`` beside it), and ``keledger keprompt enable`` writes this very source into one line of a
``.pth`` file.
"""

import sys


class KePromptFinder:
    """An import finder that answers for one module name and stays out of every other import."""

    def __init__(self, client_file: str, helper: object, statements: bool) -> None:
        self.keledger = (client_file, helper)  # told apart by this from finders that really find modules
        self.client_file = client_file
        self.helper = helper
        self.statements = statements

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        if name != "keprompt.AiProvider":
            return None
        try:
            client = sys.modules.get("_keledger_client") or self.load_client()  # type: ignore[no-untyped-call]
        except Exception as error:  # noqa: BLE001  whatever is wrong with keledger, KePrompt must run
            sys.stderr.write(
                f"keledger: {self.client_file} cannot be loaded ({type(error).__name__}), so model calls are not "
                "journaled; install keledger again, or remove its .pth file\n"
            )
            return None
        return client.find_provider(name, path, target, self.helper)

    def load_client(self):  # type: ignore[no-untyped-def]
        from importlib.util import module_from_spec, spec_from_file_location

        spec = spec_from_file_location("_keledger_client", self.client_file)
        client = module_from_spec(spec)  # type: ignore[arg-type]
        spec.loader.exec_module(client)  # type: ignore[union-attr]
        sys.modules["_keledger_client"] = client
        return client


def install(client_file: str, helper: object, statements: bool = False) -> None:
    """Put the finder in front.

    ``helper`` is keledger's interpreter, or None where a launcher listens; ``statements`` has the client file look
    for ``.budget`` and ``.cost_check`` in prompts.
    """
    # In a virtual environment Python 3.11 goes through the .pth files twice.
    if not any(getattr(finder, "keledger", None) == (client_file, helper) for finder in sys.meta_path):
        sys.meta_path.insert(0, KePromptFinder(client_file, helper, statements))  # type: ignore[arg-type]
