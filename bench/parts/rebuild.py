"""Rebuild a home's projections: ``rebuild.py HOME`` prints the seconds, imports left out, and the calls."""

import json
import sys
import time

from keledger.journal import Home
from keledger.projections import rebuild

home = Home.at(sys.argv[1])
begun = time.perf_counter()
rebuilt = rebuild(home)
print(json.dumps({"wall_s": time.perf_counter() - begun, "calls": rebuilt.calls}))
