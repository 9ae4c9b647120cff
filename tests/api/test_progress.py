"""A bar for a person, after two seconds, and nothing for a machine."""

from __future__ import annotations

import pytest

from api.cli.progress import QUIET_S, Bar, bar


class Clock:
    time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    """What rich takes for a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    return capsys


def test_a_bar_is_drawn_when_it_takes_long(screen: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    made = Bar("importing", shown=True, clock=clock)
    made(1, 10)
    assert screen.readouterr().err == ""
    clock.time = QUIET_S
    made(5, 10)
    made.close()
    told = screen.readouterr()
    assert "importing" in told.err
    assert "5/10" in told.err
    assert told.out == ""
    assert (made.done, made.total) == (5, 10)


def test_no_bar_is_drawn_for_a_machine(screen: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    made = Bar("importing", shown=False, clock=clock)
    clock.time = 10 * QUIET_S
    made(5)
    made.close()
    with bar("importing") as there:
        there(1, 2)
    told = screen.readouterr()
    assert told.err == told.out == ""
    assert (made.done, made.total) == (5, None)
