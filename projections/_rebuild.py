"""Building the cache again from nothing, and holding what events say of their results to what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keledger.journal import Finding, Home, HomeError

from . import _engine as engine
from . import _projection
from ._build import Progress, fold, read_on
from ._cache import Cache
from ._projection import Projection, open_projection


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild made: lines of calls (whether they count or not), other lines, and bytes on disk."""

    calls: int
    others: int
    size_bytes: int
    positions: Mapping[str, int]
    findings: tuple[Finding, ...]


def rebuild(home: Home, *, on_progress: Progress | None = None) -> Rebuilt:
    """Build the home's cache again from nothing, every hash checked; readers go on with the old one meanwhile.

    Raises HomeError where the home cannot be read or its cache not written.
    """
    home.check()
    cache = Cache.of(home)
    if not home.path.exists():
        return Rebuilt(0, 0, 0, {}, ())
    try:
        with cache.lock(_projection.BUILD_WAIT_S) as alone:
            if not alone:
                raise HomeError(f"{cache.folder} has been built by another process for long: stop it, or try again")
            with engine.noticing_damage():
                manifest = fold(cache, home, read_on(home, None), on_progress=on_progress)
            cache.sweep_siblings()
    except OSError as error:
        raise HomeError(f"cannot build {cache.folder}: {error.strerror}") from error
    except engine.CacheDamaged as error:
        raise HomeError(f"cannot build {cache.folder}: {error}") from None
    with open_projection(home) as projection:
        differing = _differing(projection) if manifest.rates is not None else []
        return Rebuilt(
            calls=manifest.calls,
            others=sum(layer.others for layer in manifest.layers),
            size_bytes=sum(named.size_bytes for named in manifest.files),
            positions={writer: position.seq for writer, position in manifest.positions.items()},
            findings=(*projection.findings, *differing, *_periods_differing(projection)),
        )


def _periods_differing(projection: Projection) -> list[Finding]:
    """Closed periods that this replay makes something else of than their closings say."""
    if not projection.layers.accounting:
        return []
    from ._closing import check_periods, list_periods

    return check_periods(projection.home, list_periods(projection))


def _differing(projection: Projection) -> list[Finding]:
    """Reprices of which this replay made something else than their events say."""
    from ._reprices import differing

    return projection.run(lambda connection: differing(connection, projection.home))
