"""``diagnose``: how a home is, told by check, state and remedy."""
