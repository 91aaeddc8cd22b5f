"""The suite itself tested: what keeps a promise is removed, one thing at a time: ``python -m tests.mutations``."""
