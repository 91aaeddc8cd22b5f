"""Leads every request of the library ``requests`` to the provider at ``KELEDGER_LOCAL_PROVIDER``.

For the demo and the tests alone: the file that watches KePrompt knows nothing of it.  The host stays as the first
part of the path, so the local provider sees whom it stands for, and nothing reaches the network.
"""

# mypy: ignore-errors

import os
import sys


class RequestsFinder:
    """Waits for ``requests.sessions``."""

    def find_spec(self, name, path=None, target=None):
        if name != "requests.sessions":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)))
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            redirect(module.Session)

        spec.loader.exec_module = exec_module
        return spec


def redirect(session):
    original = session.request

    def request(self, method, url, *arguments, **named):
        local = os.environ["KELEDGER_LOCAL_PROVIDER"]
        return original(self, method, local + "/" + url.partition("://")[2], *arguments, **named)

    session.request = request


sys.meta_path.insert(0, RequestsFinder())
