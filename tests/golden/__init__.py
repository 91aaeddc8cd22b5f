"""The golden journal with every kind of event: how it was made, and what it must say for ever.

``python -m tests.golden FOLDER`` makes it anew, the same bytes each time by one release; ``data/golden/v2`` holds what
it made, with ``expected.json``.  A release that writes other events gets a folder of its own: what is there stays.
"""
