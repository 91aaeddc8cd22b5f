"""The zone of reports: who says it, and what is no zone."""

from __future__ import annotations

import pytest

from keledger.journal import Home, UsageError, check_zone, report_zone


@pytest.mark.parametrize(
    ("variable", "configured", "machine", "expected"),
    [
        ("Asia/Tokyo", "Europe/Berlin", "America/New_York", "Asia/Tokyo"),
        (None, "Europe/Berlin", "America/New_York", "Europe/Berlin"),
        (None, None, "America/New_York", "America/New_York"),
        (None, None, ":America/New_York", "America/New_York"),
        (None, None, "Etc/UTC", "UTC"),
        (None, None, "EST5EDT4,M3.2.0,M11.1.0", "UTC"),
    ],
)
def test_the_first_that_says_a_zone(
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
    configured: str | None,
    machine: str,
    expected: str,
) -> None:
    home.path.mkdir(mode=0o700)
    if variable:
        monkeypatch.setenv("KELEDGER_TZ", variable)
    if configured:
        home.config.write_text(f'timezone = "{configured}"\n')
    monkeypatch.setenv("TZ", machine)
    assert report_zone(home) == expected


@pytest.mark.parametrize("name", ["Mars/Olympus", "../../etc/passwd", "", "Europe", "localtime", "right/UTC"])
def test_what_is_no_zone_is_named_with_its_place(name: str) -> None:
    with pytest.raises(UsageError, match=r"config is wrong: .* is no time zone"):
        check_zone(name, "config is wrong")
