"""The package's door has every name that it lists, and no other."""

from __future__ import annotations

import pytest

from keledger.journal import estimates


def test_every_name_is_there() -> None:
    listed = [name for names in estimates._MODULES.values() for name in names]
    assert sorted(listed) == sorted(estimates.__all__)
    for name in estimates.__all__:
        assert getattr(estimates, name) is not None


def test_no_other_name_is() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = estimates.nothing
