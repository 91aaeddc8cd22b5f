"""The read side of keledger: the journal as tables, in DuckDB, disposable at any moment.

:func:`open_projection` catches up with the journal and gives a :class:`Projection`; reports, :func:`run_sql` and
:func:`digest` take one.  What is kept on disk can be deleted whenever one likes: it is built again from the journal
(``docs/projections.md``).

Names are imported when they are first used: a report starts without the code of SQL, digests and exports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._build import Progress as Progress
    from ._confined import SqlResult as SqlResult
    from ._confined import run_sql as run_sql
    from ._details import report_call as report_call
    from ._details import report_session as report_session
    from ._digest import digest as digest
    from ._export import export_csv as export_csv
    from ._export import export_jsonl as export_jsonl
    from ._options import ReportOptions as ReportOptions
    from ._projection import Projection as Projection
    from ._projection import Rebuilt as Rebuilt
    from ._projection import open_projection as open_projection
    from ._projection import rebuild as rebuild
    from ._reports import Report as Report
    from ._reports import report_daily as report_daily
    from ._reports import report_monthly as report_monthly
    from ._reports import report_sessions as report_sessions
    from ._reports import report_weekly as report_weekly
    from ._state import ProjectionState as ProjectionState
    from ._state import check_projections as check_projections
    from ._state import projection_state as projection_state

_PLACES = {
    "Progress": "_build",
    "Projection": "_projection",
    "ProjectionState": "_state",
    "Rebuilt": "_projection",
    "Report": "_reports",
    "ReportOptions": "_options",
    "SqlResult": "_confined",
    "check_projections": "_state",
    "digest": "_digest",
    "export_csv": "_export",
    "export_jsonl": "_export",
    "open_projection": "_projection",
    "projection_state": "_state",
    "rebuild": "_projection",
    "report_call": "_details",
    "report_daily": "_reports",
    "report_monthly": "_reports",
    "report_session": "_details",
    "report_sessions": "_reports",
    "report_weekly": "_reports",
    "run_sql": "_confined",
}

__all__ = [
    "Progress",
    "Projection",
    "ProjectionState",
    "Rebuilt",
    "Report",
    "ReportOptions",
    "SqlResult",
    "check_projections",
    "digest",
    "export_csv",
    "export_jsonl",
    "open_projection",
    "projection_state",
    "rebuild",
    "report_call",
    "report_daily",
    "report_monthly",
    "report_session",
    "report_sessions",
    "report_weekly",
    "run_sql",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_PLACES[name]}", __name__), name)
    globals()[name] = value
    return value
