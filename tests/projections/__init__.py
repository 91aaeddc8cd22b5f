"""The projections, held against journals made by the real write path and against a plain fold in Python."""
