"""Catch up with a journal: ``open.py HOME`` prints the seconds, imports left out."""

import json
import sys
import time

from keledger.journal import Home
from keledger.projections import open_projection

home = Home.at(sys.argv[1])
begun = time.perf_counter()
with open_projection(home) as projection:
    wall_s = time.perf_counter() - begun
    positions = projection.positions
print(json.dumps({"wall_s": wall_s, "positions": positions}))
