"""The read side of keledger: the journal as tables, in DuckDB, disposable at any moment.

:func:`open_projection` catches up with the journal and gives a :class:`Projection`; reports, :func:`run_sql` and
:func:`digest` take one.  What is kept on disk can be deleted whenever one likes: it is built again from the journal
(``docs/projections.md``).
"""

from __future__ import annotations

from ._build import Progress
from ._confined import SqlResult, run_sql
from ._details import report_call, report_session
from ._digest import digest
from ._export import export_jsonl
from ._options import ReportOptions
from ._projection import Projection, Rebuilt, open_projection, rebuild
from ._reports import Report, report_daily, report_monthly, report_sessions, report_weekly

__all__ = [
    "Progress",
    "Projection",
    "Rebuilt",
    "Report",
    "ReportOptions",
    "SqlResult",
    "digest",
    "export_jsonl",
    "open_projection",
    "rebuild",
    "report_call",
    "report_daily",
    "report_monthly",
    "report_session",
    "report_sessions",
    "report_weekly",
    "run_sql",
]
