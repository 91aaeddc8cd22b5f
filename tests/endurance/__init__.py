"""Many appends from processes that are killed and restarted until all is done: ``python -m tests.endurance``."""
