"""The read side of keledger: the journal as tables, in DuckDB, disposable at any moment.

:func:`open_projection` catches up with the journal and gives a :class:`Projection`; reports, :func:`run_sql` and
:func:`digest` take one.  What is kept on disk can be deleted whenever one likes: it is built again from the journal
(``docs/projections.md``).

Names are imported when they are first used: a report starts without the code of SQL, digests and exports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._adjustments import Adjustment as Adjustment
    from ._adjustments import find_adjustment as find_adjustment
    from ._adjustments import list_adjustments as list_adjustments
    from ._adoptions import PriceAdoption as PriceAdoption
    from ._adoptions import price_adoptions as price_adoptions
    from ._alerts import list_alerts as list_alerts
    from ._backtest import Backtest as Backtest
    from ._backtest import BacktestSums as BacktestSums
    from ._backtest import backtest as backtest
    from ._book_effect import BookEffect as BookEffect
    from ._book_effect import effect_of_change as effect_of_change
    from ._budget_costs import repriced_differences as repriced_differences
    from ._build import Progress as Progress
    from ._call_estimator import CallEstimator as CallEstimator
    from ._call_estimator import subject_of as subject_of
    from ._changes import Change as Change
    from ._closing import check_closable as check_closable
    from ._closing import check_periods as check_periods
    from ._closing import closing_data as closing_data
    from ._closing import find_closing as find_closing
    from ._closing import is_as_closed as is_as_closed
    from ._closing import list_periods as list_periods
    from ._closing import open_months_before as open_months_before
    from ._closing import report_closed as report_closed
    from ._closings import Closing as Closing
    from ._closings import Periods as Periods
    from ._closings import closing_as_json as closing_as_json
    from ._closings import month_start as month_start
    from ._closings import shown_totals as shown_totals
    from ._confined import SqlResult as SqlResult
    from ._confined import run_sql as run_sql
    from ._corrections import period_difference as period_difference
    from ._details import report_call as report_call
    from ._details import report_session as report_session
    from ._digest import digest as digest
    from ._efficiency import Efficiency as Efficiency
    from ._efficiency import EfficiencyRow as EfficiencyRow
    from ._efficiency import report_efficiency as report_efficiency
    from ._estimate_list import EstimateList as EstimateList
    from ._estimate_list import list_estimates as list_estimates
    from ._estimate_options import EstimateOptions as EstimateOptions
    from ._estimate_report import EstimateFigures as EstimateFigures
    from ._estimate_report import EstimateReport as EstimateReport
    from ._estimate_report import report_estimates as report_estimates
    from ._estimator import Estimator as Estimator
    from ._estimator import Subject as Subject
    from ._export import export_csv as export_csv
    from ._export import export_jsonl as export_jsonl
    from ._hypothesis import Apart as Apart
    from ._hypothesis import Hypothesis as Hypothesis
    from ._hypothesis import WhatIfSums as WhatIfSums
    from ._options import ReportOptions as ReportOptions
    from ._projection import Projection as Projection
    from ._projection import open_projection as open_projection
    from ._prompt_profile import called_providers as called_providers
    from ._prompt_profile import prompt_profiles as prompt_profiles
    from ._prompt_profile import token_ratio as token_ratio
    from ._rebuild import Rebuilt as Rebuilt
    from ._rebuild import rebuild as rebuild
    from ._reconcile import Comparison as Comparison
    from ._reconcile import RecordedInvoice as RecordedInvoice
    from ._reconcile import compare_invoice as compare_invoice
    from ._reconcile import find_invoice as find_invoice
    from ._reconcile import list_invoices as list_invoices
    from ._reports import Report as Report
    from ._reports import report_daily as report_daily
    from ._reports import report_monthly as report_monthly
    from ._reports import report_sessions as report_sessions
    from ._reports import report_weekly as report_weekly
    from ._reprice import Recount as Recount
    from ._reprice import RepricePreview as RepricePreview
    from ._reprice import RepriceRequest as RepriceRequest
    from ._reprice import effect_of_book as effect_of_book
    from ._reprice import preview_reprice as preview_reprice
    from ._reprice import reprice_data as reprice_data
    from ._repricings import Repricing as Repricing
    from ._repricings import find_book as find_book
    from ._repricings import find_reprice as find_reprice
    from ._repricings import list_reprices as list_reprices
    from ._selector import Selector as Selector
    from ._state import ProjectionState as ProjectionState
    from ._state import check_projections as check_projections
    from ._state import projection_state as projection_state
    from ._whatif import WhatIf as WhatIf
    from ._whatif import report_whatif as report_whatif

_PLACES = {
    "Adjustment": "_adjustments",
    "Apart": "_hypothesis",
    "Backtest": "_backtest",
    "BacktestSums": "_backtest",
    "BookEffect": "_book_effect",
    "CallEstimator": "_call_estimator",
    "Change": "_changes",
    "Closing": "_closings",
    "Comparison": "_reconcile",
    "EstimateFigures": "_estimate_report",
    "EstimateList": "_estimate_list",
    "EstimateOptions": "_estimate_options",
    "EstimateReport": "_estimate_report",
    "Estimator": "_estimator",
    "Efficiency": "_efficiency",
    "EfficiencyRow": "_efficiency",
    "Hypothesis": "_hypothesis",
    "Periods": "_closings",
    "PriceAdoption": "_adoptions",
    "Progress": "_build",
    "Projection": "_projection",
    "ProjectionState": "_state",
    "Rebuilt": "_rebuild",
    "RecordedInvoice": "_reconcile",
    "Recount": "_reprice",
    "Report": "_reports",
    "ReportOptions": "_options",
    "RepricePreview": "_reprice",
    "RepriceRequest": "_reprice",
    "Repricing": "_repricings",
    "Selector": "_selector",
    "SqlResult": "_confined",
    "Subject": "_estimator",
    "WhatIf": "_whatif",
    "WhatIfSums": "_hypothesis",
    "backtest": "_backtest",
    "called_providers": "_prompt_profile",
    "check_closable": "_closing",
    "check_periods": "_closing",
    "check_projections": "_state",
    "closing_as_json": "_closings",
    "closing_data": "_closing",
    "compare_invoice": "_reconcile",
    "digest": "_digest",
    "effect_of_book": "_reprice",
    "effect_of_change": "_book_effect",
    "export_csv": "_export",
    "export_jsonl": "_export",
    "find_adjustment": "_adjustments",
    "find_book": "_repricings",
    "find_closing": "_closing",
    "find_invoice": "_reconcile",
    "find_reprice": "_repricings",
    "is_as_closed": "_closing",
    "list_adjustments": "_adjustments",
    "list_alerts": "_alerts",
    "list_estimates": "_estimate_list",
    "list_invoices": "_reconcile",
    "list_periods": "_closing",
    "list_reprices": "_repricings",
    "month_start": "_closings",
    "open_months_before": "_closing",
    "open_projection": "_projection",
    "period_difference": "_corrections",
    "preview_reprice": "_reprice",
    "price_adoptions": "_adoptions",
    "projection_state": "_state",
    "prompt_profiles": "_prompt_profile",
    "rebuild": "_rebuild",
    "report_call": "_details",
    "report_closed": "_closing",
    "report_daily": "_reports",
    "report_efficiency": "_efficiency",
    "report_estimates": "_estimate_report",
    "report_monthly": "_reports",
    "report_session": "_details",
    "report_sessions": "_reports",
    "report_weekly": "_reports",
    "report_whatif": "_whatif",
    "repriced_differences": "_budget_costs",
    "reprice_data": "_reprice",
    "run_sql": "_confined",
    "shown_totals": "_closings",
    "subject_of": "_call_estimator",
    "token_ratio": "_prompt_profile",
}

__all__ = [
    "Adjustment",
    "Apart",
    "Backtest",
    "BacktestSums",
    "BookEffect",
    "CallEstimator",
    "Change",
    "Closing",
    "Comparison",
    "Efficiency",
    "EfficiencyRow",
    "EstimateFigures",
    "EstimateList",
    "EstimateOptions",
    "EstimateReport",
    "Estimator",
    "Hypothesis",
    "Periods",
    "PriceAdoption",
    "Progress",
    "Projection",
    "ProjectionState",
    "Rebuilt",
    "RecordedInvoice",
    "Recount",
    "Report",
    "ReportOptions",
    "RepricePreview",
    "RepriceRequest",
    "Repricing",
    "Selector",
    "SqlResult",
    "Subject",
    "WhatIf",
    "WhatIfSums",
    "backtest",
    "called_providers",
    "check_closable",
    "check_periods",
    "check_projections",
    "closing_as_json",
    "closing_data",
    "compare_invoice",
    "digest",
    "effect_of_book",
    "effect_of_change",
    "export_csv",
    "export_jsonl",
    "find_adjustment",
    "find_book",
    "find_closing",
    "find_invoice",
    "find_reprice",
    "is_as_closed",
    "list_adjustments",
    "list_alerts",
    "list_estimates",
    "list_invoices",
    "list_periods",
    "list_reprices",
    "month_start",
    "open_months_before",
    "open_projection",
    "period_difference",
    "preview_reprice",
    "price_adoptions",
    "projection_state",
    "prompt_profiles",
    "rebuild",
    "report_call",
    "report_closed",
    "report_daily",
    "report_efficiency",
    "report_estimates",
    "report_monthly",
    "report_session",
    "report_sessions",
    "report_weekly",
    "report_whatif",
    "reprice_data",
    "repriced_differences",
    "run_sql",
    "shown_totals",
    "subject_of",
    "token_ratio",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_PLACES[name]}", __name__), name)
    globals()[name] = value
    return value
