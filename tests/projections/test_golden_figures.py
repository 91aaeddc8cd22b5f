"""The golden journals that say what they cost: a release that reads one otherwise fails here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import keledger.data
from keledger.journal import Home, pico_to_usd, usd_to_pico, verify
from keledger.projections import rebuild
from tests.golden.__main__ import make
from tests.golden.figures import BASES, figures

from .repricing import digest_of, folded

GOLDEN = Path(keledger.data.__path__[0]) / "golden"
VERSIONS = sorted(path.name for path in GOLDEN.iterdir() if '"figures"' in (path / "expected.json").read_text())


@pytest.fixture(params=VERSIONS)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """A copy of one version's golden home."""
    home = Home.at(tmp_path / "golden")
    shutil.copytree(GOLDEN / request.param, home.path)
    home.path.chmod(0o700)
    return home


def expected(home: Home) -> Any:
    """What it must say."""
    return json.loads((home.path / "expected.json").read_text())["figures"]


def test_figures(golden: Home) -> None:
    """From the lines alone, and from a layer."""
    assert figures(golden) == expected(golden)
    rebuild(golden)
    assert figures(golden) == expected(golden)


def test_figures_are_those_of_a_plain_fold(golden: Home) -> None:
    for basis, said in expected(golden)["bases"].items():
        wanted = {
            call_id: [state, None if pico is None else pico_to_usd(pico)]
            for call_id, (state, pico) in folded(golden, basis).items()
        }
        assert said["calls"] == wanted, basis
        total = sum(usd_to_pico(usd) for _, usd in said["calls"].values() if usd is not None)
        assert total == sum(usd_to_pico(usd) for usd in said["models"].values() if usd is not None)
        counted = usd_to_pico(said["totals"]["cost_usd"]) + usd_to_pico(said["totals"]["corrections_usd"])
        assert counted == total, basis


@pytest.mark.exhaustive
def test_the_bases_of_what_this_release_writes_differ(tmp_path: Path) -> None:
    """The script makes what this release writes; that what is kept stays as it is, another test holds."""
    made = make(tmp_path / "made", VERSIONS[-1])
    result = verify(made)
    assert not result.damaged
    assert sum(result.types.values()) > 250
    assert figures(made) == expected(made)
    assert expected(made)["bases"].keys() == set(BASES)
    costs = [sorted(map(str, said["calls"].items())) for said in expected(made)["bases"].values()]
    assert all(one != other for place, one in enumerate(costs) for other in costs[:place])
    assert digest_of(made) == expected(made)["digest"]
