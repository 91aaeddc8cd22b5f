"""A simulator of the write side: ``python -m tests.simulator`` (``docs/promises.md``, "The simulator")."""
