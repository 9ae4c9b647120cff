"""The bench of the encoders: a row for each, measured in a process of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evals.bench import encoders
from evals.bench.encoders import quality


def test_quality_counts_the_questions_whose_paragraph_is_first_and_among_ten() -> None:
    paragraphs = np.eye(20, dtype=np.float32)
    questions = np.eye(20, dtype=np.float32)[:4]
    questions[1, 5] = 2.0  # another paragraph is nearer
    questions[2, 6:18] = 2.0  # twelve are
    assert quality(paragraphs, questions, [0, 1, 2, 3]) == (0.5, 0.75)


def test_a_row_for_each_encoder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = []
    for n in range(30):
        subject = f"the {n}th harbour of the northern coast"
        body = f"Ships that call at {subject} pay their dues there, load copper and paper, and wait for the tide. " * 2
        lines += [f"def f{n}():", f'    """What is said about {subject}.', "", f"    {body}", '    """', ""]
    (tmp_path / "module.py").write_text("\n".join(lines))
    monkeypatch.setattr(encoders, "ENCODERS", ("minilm-l6",))
    assert encoders.main(["--folder", str(tmp_path), "--paragraphs", "30", "--questions", "20"]) == 0
    printed = capsys.readouterr().out
    assert "30 paragraphs, 20 questions" in printed
    row = next(line for line in printed.splitlines() if line.startswith("| minilm-l6 "))
    load_s, megabytes, one, two, cpu, ms, cpu_asked, first, ten = (float(c) for c in row.strip("| ").split("|")[1:10])
    assert 0 < load_s < 60
    assert 50 < megabytes < 1000
    assert min(one, two, cpu, ms, cpu_asked) > 0
    assert 0 <= first <= ten <= 1
    assert ten > 0.5
