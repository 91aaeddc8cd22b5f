"""Faults that need root or a tool.  What cannot run here is skipped, and says why."""
