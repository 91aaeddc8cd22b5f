"""The floor of a daily report: ``group_by.py FILE`` opens a projection's file and groups its calls by day, once."""

import sys

import duckdb

STATEMENT = """
    SELECT
        started_us // 86400000000,
        count(*),
        sum(input_tokens),
        sum(output_tokens),
        sum(cache_read_input_tokens),
        sum(cache_creation_input_tokens),
        sum(reasoning_output_tokens),
        sum(cost_pico)
    FROM call_lines
    GROUP BY 1
    ORDER BY 1
"""

print(len(duckdb.connect(sys.argv[1], read_only=True).execute(STATEMENT).fetchall()))
