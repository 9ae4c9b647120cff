"""What is told of a program that ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpu.child_process import first_error


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "INFO started\nERROR ValueError: no such model\nERROR EngineDeadError: see above\n",
            "ValueError: no such model",
        ),
        (
            "WARNING Found a limit that can cause `OSError: too many`\nERROR RuntimeError: it broke\n",
            "RuntimeError: it broke",
        ),
        ("INFO loading\nKilled\n", "Killed"),
        ("", "it printed nothing"),
    ],
)
def test_the_first_error_is_named_and_not_one_that_a_warning_speaks_of(said: str, told: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(f"of an earlier start: OSError: gone\n{said}")
    assert first_error(log, len("of an earlier start: OSError: gone\n")) == told
