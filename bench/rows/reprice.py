"""``keledger replay --reprice`` of every call, above start-up, and against a loop over genai-prices' ``calc_price``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping

import orjson

from bench._figures import Figure, difference, middle_half
from bench._processes import keledger, run
from bench._workshop import Workshop
from bench._world import MODELS
from keledger.journal import Home, Ledger, replaced_layer
from keledger.journal.prices import BUCKETS, Cell, LayerHeader, write_layer

from . import calc_price

START_UP = keledger("replay", "--list")
"""Starts, opens the projection, and has nothing to price."""


def measure(workshop: Workshop) -> Iterator[Figure]:
    """The preview and the whole, each a process, in turns with one that only opens the same projection."""
    home = dearer_home(workshop)
    environment = workshop.environment | {"KELEDGER_HOME": str(home.path)}
    run(keledger("daily"), environment)  # the adoption of the prices is new to the projection
    preview_s, preview_floor_s = _preview(workshop, environment)
    yield _above("preview (--dry-run)", workshop, preview_s, preview_floor_s)
    applied_s, applied_floor_s, folding_s, folded_s = _applied(workshop, home)
    yield _above("previewed and journaled (-yy)", workshop, applied_s, applied_floor_s)
    value, spread = difference(folding_s, folded_s)
    yield Figure(
        "reprice",
        f"{workshop.size.calls:,} calls, the first report after it, added",
        value,
        "s",
        f"the report after that {statistics.median(folded_s):.3f} s",
        spread,
        measured={"first_s": statistics.median(folding_s), "second_s": statistics.median(folded_s)},
    )
    missing = calc_price.why_not()
    if missing is not None:
        workshop.say(f"reprice: nothing to compare with: {missing}")
        return
    yield _against_calc_price(workshop, home, difference(preview_s, preview_floor_s)[0])


def dearer_home(workshop: Workshop) -> Home:
    """A copy of the journal whose newest book has another price for every call that has one."""
    home = workshop.copy(workshop.built_home(), "dearer")
    prices = dict.fromkeys(BUCKETS[:-1], "2.5")
    cells = [Cell(model.provider, model.response_model, "", prices) for model in MODELS]
    layer = write_layer(LayerHeader("user", "dearer", "the benchmarks", "2026-11-21"), sorted(cells, key=Cell.sort_key))
    with Ledger.open(home.path) as ledger:
        before = ledger.manifest()
        adoption = replaced_layer(before, "user", layer, "dearer")
        ledger.adopt_prices(adoption, "for the benchmarks", based_on=before.sha256)
    return home


def _preview(workshop: Workshop, environment: Mapping[str, str]) -> tuple[list[float], list[float]]:
    subject_s: list[float] = []
    floor_s: list[float] = []
    for number in range(workshop.size.repeats + 1):
        ended = run(keledger("replay", "--reprice", "--dry-run"), environment)
        floor = run(START_UP, environment)
        _check(workshop, ended.output, applied=False)
        if number:  # the first round warms the disk's cache
            subject_s.append(ended.wall_s)
            floor_s.append(floor.wall_s)
    return subject_s, floor_s


def _applied(workshop: Workshop, home: Home) -> tuple[list[float], list[float], list[float], list[float]]:
    """With the report after it, and the one after that; each round on a copy that was not repriced."""
    times_s: tuple[list[float], list[float], list[float], list[float]] = ([], [], [], [])
    for number in range(workshop.size.rebuilds):
        copied = workshop.copy(home, f"repriced-{number}")
        environment = workshop.environment | {"KELEDGER_HOME": str(copied.path)}
        floor = run(START_UP, environment)
        ended = run(keledger("replay", "--reprice", "-yy"), environment)
        _check(workshop, ended.output, applied=True)
        reports = [run(keledger("daily"), environment) for _ in range(2)]
        if reports[0].output != reports[1].output:
            raise AssertionError("two reports with nothing between them differ")
        for kept, process in zip(times_s, (ended, floor, *reports), strict=True):
            kept.append(process.wall_s)
        workshop.remove(copied)
    return times_s


def _check(workshop: Workshop, output: bytes, *, applied: bool) -> None:
    """Raise AssertionError where it did not do what is measured: price nearly all calls, and change what they cost."""
    document = orjson.loads(output)
    counts = [document["counted_calls"], document["totals"]["calls"], document["totals"]["changed_calls"]]
    if document["applied"] is not applied or min(counts) < 0.9 * workshop.size.calls:
        raise AssertionError(
            f"of {workshop.size.calls} calls a reprice took in {counts}, applied: {document['applied']}"
        )


def _above(what: str, workshop: Workshop, subject_s: list[float], floor_s: list[float]) -> Figure:
    value, spread = difference(subject_s, floor_s)
    return Figure(
        "reprice",
        f"{workshop.size.calls:,} calls, {what}, above start-up",
        value,
        "s",
        f"keledger replay --list {statistics.median(floor_s):.3f} s",
        spread,
        at_most=1.0,
        measured={"reprice_s": statistics.median(subject_s), "start_up_s": statistics.median(floor_s)},
    )


def _against_calc_price(workshop: Workshop, home: Home, reprice_s: float) -> Figure:
    from genai_prices import calc_price as price

    calls = calc_price.sample(home, calc_price.book_of(home), workshop.size.calls)
    calc_price.price_block(calls, lambda call: price(**call.theirs))  # finds each model once before the clock runs
    scale = workshop.size.calls / len(calls)
    rounds_s = []
    for _ in range(3):
        begun = time.perf_counter()
        calc_price.price_block(calls, lambda call: price(**call.theirs).total_price)
        rounds_s.append(scale * (time.perf_counter() - begun))
    ratios = [theirs_s / max(reprice_s, 1e-3) for theirs_s in rounds_s]
    return Figure(
        "reprice",
        f"{workshop.size.calls:,} calls, calc_price's time over the preview's",
        statistics.median(ratios),
        "x",
        f"calc_price {statistics.median(rounds_s):.3g} s, from a sample of {len(calls):,}",
        middle_half(ratios),
        at_least=100.0,
        measured={"calc_price_s": statistics.median(rounds_s), "reprice_s": reprice_s, "sample_calls": len(calls)},
    )
