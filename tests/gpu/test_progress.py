"""What a set-up step prints."""

from __future__ import annotations

import io

from gpu.progress import Progress, to_terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_one_line_that_is_gone_at_the_end() -> None:
    out = Terminal()
    report = to_terminal(out)
    report(Progress("installing", "collecting torch"))
    report(Progress("done", "all"))
    assert out.getvalue() == "\r\x1b[Kinstalling: collecting torch\r\x1b[K"


def test_elsewhere_each_stage_is_told_once() -> None:
    out = io.StringIO()
    report = to_terminal(out)
    for detail in ("one", "two"):
        report(Progress("installing", detail))
    assert out.getvalue() == "installing: one\n"
