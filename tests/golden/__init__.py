"""The golden journals, with every kind of event: how they were made, and what they must say for ever.

``python -m tests.golden FOLDER`` makes the one that the folder is named after, the same bytes each time by one release;
``data/golden`` holds what it made, with ``expected.json``.  A release that writes other events gets a folder of its
own: what is there stays.
"""
