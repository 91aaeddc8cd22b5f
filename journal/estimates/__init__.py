"""What a call will take and cost, told before it is made: counting, calibration and the choice of a model.

Nothing here imports DuckDB or opens a network connection; what past calls taught is handed in.  Names are imported
when they are first used: nobody who asks for no estimate pays for one.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, without its import
if TYPE_CHECKING:
    from ._accuracy import LATELY_CALLS as LATELY_CALLS
    from ._accuracy import Accuracy as Accuracy
    from ._accuracy import Stated as Stated
    from ._accuracy import accuracy as accuracy
    from ._accuracy import lately_off as lately_off
    from ._batch import BatchEstimate as BatchEstimate
    from ._batch import Part as Part
    from ._batch import Rate as Rate
    from ._batch import estimate_batch as estimate_batch
    from ._calibration import MODEL_PAIRS as MODEL_PAIRS
    from ._calibration import OWN_PAIRS as OWN_PAIRS
    from ._calibration import InputEstimate as InputEstimate
    from ._calibration import InputFit as InputFit
    from ._calibration import InputHistory as InputHistory
    from ._calibration import InputPrior as InputPrior
    from ._calibration import ModelFit as ModelFit
    from ._calibration import Pair as Pair
    from ._calibration import Spread as Spread
    from ._calibration import estimate_input as estimate_input
    from ._calibration import fit_input as fit_input
    from ._calibration import fit_model as fit_model
    from ._call_profile import CallProfile as CallProfile
    from ._call_profile import Ratio as Ratio
    from ._call_profile import cautious as cautious
    from ._call_profile import expected_costs as expected_costs
    from ._choice import Candidate as Candidate
    from ._choice import Choice as Choice
    from ._choice import LeftOut as LeftOut
    from ._choice import Requirements as Requirements
    from ._choice import choose as choose
    from ._choice import parse_max_cost as parse_max_cost
    from ._cost import CostEstimate as CostEstimate
    from ._cost import Terms as Terms
    from ._counted import Counted as Counted
    from ._counted import count_prompt as count_prompt
    from ._counted import count_request as count_request
    from ._estimate import Estimate as Estimate
    from ._estimate import Learned as Learned
    from ._estimate import Past as Past
    from ._estimate import estimate as estimate
    from ._estimate import learn as learn
    from ._estimate import output_quantiles as output_quantiles
    from ._families import prior_of as prior_of
    from ._many import ManyEstimate as ManyEstimate
    from ._many import estimate_many as estimate_many
    from ._models import NEEDS as NEEDS
    from ._models import QUALITIES as QUALITIES
    from ._models import Fact as Fact
    from ._models import ModelFacts as ModelFacts
    from ._models import ModelTable as ModelTable
    from ._models import load_models as load_models
    from ._models import load_tiers as load_tiers
    from ._output import ANSWERS as ANSWERS
    from ._output import NEAREST_OF as NEAREST_OF
    from ._output import OutputEstimate as OutputEstimate
    from ._output import OutputFit as OutputFit
    from ._output import OutputPrior as OutputPrior
    from ._output import PastOutput as PastOutput
    from ._output import estimate_output as estimate_output
    from ._output import fit_output as fit_output
    from ._vocabularies import load_vocabulary as load_vocabulary

__all__ = [
    "ANSWERS",
    "LATELY_CALLS",
    "MODEL_PAIRS",
    "NEAREST_OF",
    "NEEDS",
    "OWN_PAIRS",
    "QUALITIES",
    "Accuracy",
    "BatchEstimate",
    "CallProfile",
    "Candidate",
    "Choice",
    "CostEstimate",
    "Counted",
    "Estimate",
    "Fact",
    "InputEstimate",
    "InputFit",
    "InputHistory",
    "InputPrior",
    "Learned",
    "LeftOut",
    "ManyEstimate",
    "ModelFacts",
    "ModelFit",
    "ModelTable",
    "OutputEstimate",
    "OutputFit",
    "OutputPrior",
    "Pair",
    "Part",
    "Past",
    "PastOutput",
    "Rate",
    "Ratio",
    "Requirements",
    "Spread",
    "Stated",
    "Terms",
    "accuracy",
    "cautious",
    "choose",
    "count_prompt",
    "count_request",
    "estimate",
    "estimate_batch",
    "estimate_input",
    "estimate_many",
    "estimate_output",
    "expected_costs",
    "fit_input",
    "fit_model",
    "fit_output",
    "lately_off",
    "learn",
    "load_models",
    "load_tiers",
    "load_vocabulary",
    "output_quantiles",
    "parse_max_cost",
    "prior_of",
]

_MODULES: dict[str, tuple[str, ...]] = {
    "_accuracy": (
        "LATELY_CALLS",
        "Accuracy",
        "Stated",
        "accuracy",
        "lately_off",
    ),
    "_batch": (
        "BatchEstimate",
        "Part",
        "Rate",
        "estimate_batch",
    ),
    "_calibration": (
        "MODEL_PAIRS",
        "OWN_PAIRS",
        "InputEstimate",
        "InputFit",
        "InputHistory",
        "InputPrior",
        "ModelFit",
        "Pair",
        "Spread",
        "estimate_input",
        "fit_input",
        "fit_model",
    ),
    "_call_profile": (
        "CallProfile",
        "Ratio",
        "cautious",
        "expected_costs",
    ),
    "_choice": (
        "Candidate",
        "Choice",
        "LeftOut",
        "Requirements",
        "choose",
        "parse_max_cost",
    ),
    "_cost": (
        "CostEstimate",
        "Terms",
    ),
    "_counted": (
        "Counted",
        "count_prompt",
        "count_request",
    ),
    "_estimate": (
        "Estimate",
        "Learned",
        "Past",
        "estimate",
        "learn",
        "output_quantiles",
    ),
    "_families": ("prior_of",),
    "_many": (
        "ManyEstimate",
        "estimate_many",
    ),
    "_models": (
        "NEEDS",
        "QUALITIES",
        "Fact",
        "ModelFacts",
        "ModelTable",
        "load_models",
        "load_tiers",
    ),
    "_output": (
        "ANSWERS",
        "NEAREST_OF",
        "OutputEstimate",
        "OutputFit",
        "OutputPrior",
        "PastOutput",
        "estimate_output",
        "fit_output",
    ),
    "_vocabularies": ("load_vocabulary",),
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    module = _PLACES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = found
    return found
