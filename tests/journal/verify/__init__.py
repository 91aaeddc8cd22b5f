"""``verify``: what is wrong with a journal, told by kind, file, line and byte."""
