"""Benchmarks: ratios in one run, each against a floor that is measured beside it.

``python -m bench`` runs the rows, ``python -m bench.generate`` makes a journal from a seed; ``README.md`` says how
each row is measured.  This package is not part of the wheel: it is run from a checkout, with keledger installed.
"""
