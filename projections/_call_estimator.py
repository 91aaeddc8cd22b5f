"""What looks ahead for programs whose calls are watched: estimates by what the journal says at that moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keledger.journal import Home, current_prices
from keledger.journal.estimates import Estimate, load_vocabulary
from keledger.journal.usage import provider_name

from ._choosing import ChosenModel, choose_model
from ._estimator import Estimator, Subject
from ._projection import Projection, open_projection

COMMONEST_VOCABULARY = "o200k_base"
"""Counts for nearly all models, by itself or as another's proxy (``data/estimate_priors.toml``)."""


class CallEstimator:
    """Estimates the calls of one home, one after the other, each by all that is journaled then."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._projection: Projection | None = None

    def prepare(self) -> None:
        """Load what the first estimate will need, while nobody waits for it.  Raises HomeError."""
        self._estimator()
        load_vocabulary(COMMONEST_VOCABULARY)

    def estimate(self, begin: Mapping[str, Any], request: object) -> Estimate:
        """What a call will take and cost; *begin* is what is known of it, *request* the body that is to be sent.

        Raises InputRefused for what is no request, HomeError where the journal cannot be read.
        """
        estimator = self._estimator()
        context = begin.get("pricing_context")
        return estimator.estimate(request, subject_of(begin), context=context if isinstance(context, dict) else None)

    def choose(
        self, begin: Mapping[str, Any], request: object, asked: Mapping[str, Any], offered: Sequence[str]
    ) -> ChosenModel:
        """The cheapest of the models *offered* that is good enough; see :func:`choose_model`, which also says what is
        raised."""
        return choose_model(self._estimator(), subject_of(begin), request, asked, offered)

    def _estimator(self) -> Estimator:
        if self._projection is None:
            self._projection = open_projection(self._home)
        else:
            self._projection.refresh()
        prices = current_prices(self._home)
        return Estimator(self._projection, prices.store.load_book(prices.manifest.sha256))


def subject_of(begin: Mapping[str, Any]) -> Subject:
    """Of which calls one is, under the names that its event will have."""
    provider = provider_name(str(begin.get("provider") or "")) or "unknown"
    return Subject(provider, str(begin.get("model") or "unknown"), begin.get("prompt"), begin.get("prompt_version"))
