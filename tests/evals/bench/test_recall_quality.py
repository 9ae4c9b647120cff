"""The figures of the quality benchmark, and that it says what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evals.bench.corpora import Corpus, Question, Text
from evals.bench.recall_quality import interval, joined, main, measured, share


def test_fusion_by_ranks_orders_what_either_list_has() -> None:
    assert joined([[1, 2, 3], [3, 4]]) == [3, 1, 2, 4]
    assert joined([[1, 2, 3], [2, 4, 1]]) == [2, 1, 4, 3]


def test_recall_is_the_share_of_the_evidence() -> None:
    assert share(frozenset({1, 2, 3, 4}), [9, 2, 4]) == 0.5


def test_each_way_is_measured_on_the_same_questions() -> None:
    texts = tuple(Text("four" * place, "s", place) for place in range(30))
    questions = (Question("q", frozenset({7}), "one"), Question("r", frozenset({0, 29}), "two"))
    corpus = Corpus("c", texts, questions)
    found = {"ours": [list(range(20)), list(range(20))], "theirs": [[7], [29, 0]]}
    ours, theirs = measured([corpus], [found])
    assert ours.recall.tolist() == [[0, 1, 1], [0.5, 0.5, 0.5]]
    assert theirs.recall.mean() == 1
    assert ours.tokens == sum(range(10))
    (only, _) = measured([corpus], [found], kind="two")
    assert only.recall.tolist() == [[0.5, 0.5, 0.5]]


def test_the_interval_holds_the_difference_and_is_the_same_each_time() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = rng.random(400) + 0.1, rng.random(400)
    low, high = interval(ours, theirs)
    assert low < (ours - theirs).mean() < high
    assert (low, high) == interval(ours, theirs)
    assert interval(ours, ours) == (0, 0)


def test_without_the_data_set_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["recall_quality", "--data", str(tmp_path)])
    assert main() == 2
    assert "give its folder with --data" in capsys.readouterr().err
