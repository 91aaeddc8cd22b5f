"""Load a journal's bytes with nothing but DuckDB: ``read_json.py OUT FILE...`` prints the seconds and the threads."""

import json
import sys
import time
from pathlib import Path

import duckdb

STATEMENT = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")

target, *files = sys.argv[1:]
begun = time.perf_counter()
connection = duckdb.connect(target)
connection.execute(STATEMENT, {"files": files})
connection.execute("CHECKPOINT")
[(rows, threads)] = connection.execute("SELECT count(*), current_setting('threads') FROM events").fetchall()
connection.close()
print(json.dumps({"wall_s": time.perf_counter() - begun, "rows": rows, "threads": threads}))
