"""The parts of a score: what speaks for each candidate, one number per part, standardised within the question. Pure.

`lexical` is the share of what the question says that a memory covers, rare words counting more; 1 is every word once.
`phrase` is the share of the question's neighbouring words that stand together in it.
`dense` is the cosine in standard deviations of this question's candidates. Both count the context of a memory for a
part. `speaker`, `date`, `graph` and `priority` are fields and lie between 0 and 1. Scores of other questions, corpora
and encoders never enter: a fixed weight of two indexes that is right on one corpus is wrong on the next. Recency and
heat are no parts: a superseded fact is not shown at all, and what was recalled often is not right more often (measured
usefulness tells that instead). Source: memos §3.2; design storage §4b; Robertson and Zaragoza 2009 for BM25; ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memory.ranking import words
from memory.ranking.candidates import Candidate
from memory.ranking.question import Question, name_words
from memory.ranking.smoothing import Context, Floats, context, neighbour_sum, spread

# Texts are short, so a second occurrence tells little and length even less.
SATURATION: Final = 0.6
LENGTH_SHARE: Final = 0.3
DENSE_CONTEXT: Final = 0.3
MOST_PRIORITY: Final = 2
NAMES: Final = ("lexical", "phrase", "dense", "speaker", "date", "graph", "priority")


@dataclass(frozen=True, slots=True)
class Parts:
    """`of`: by part, one value for each candidate. The rest is for telling why: which terms each candidate has itself,
    whether its neighbours have more of them, and its cosine (NaN: unknown)."""

    of: Mapping[str, Floats]
    has: NDArray[np.bool_]
    nearby: NDArray[np.bool_]
    cosines: Floats


def parts(
    question: Question, candidates: Sequence[Candidate], cosines: Floats | None, near: Mapping[int, float]
) -> Parts:
    """`cosines`: NaN where a candidate has no vector; `near`: the score of those that the graph reached, by short key."""
    texts = [f"{each.text}\n{each.names}" if each.names else each.text for each in candidates]
    found = words.occurrences(texts, question.terms)
    around = context(candidates, found.lengths)
    said = _said(found.counts, found.lengths)
    covered = spread(said, around)
    zeros = np.zeros(len(candidates), np.float32)
    of = {
        "lexical": covered.sum(axis=1),
        "phrase": _phrases(found.phrases),
        "dense": zeros if cosines is None else _dense(cosines, around),
        "speaker": _who(question, candidates) if question.people else zeros,
        "date": _when(question, candidates) if question.dates else zeros,
        "graph": _graph(candidates, near) if near else zeros,
        "priority": np.array([each.priority / MOST_PRIORITY for each in candidates], np.float32),
    }
    nearby: NDArray[np.bool_] = np.any(covered > said, axis=1)
    unknown = np.full(len(candidates), np.nan, np.float32)
    return Parts(of, found.counts > 0, nearby, unknown if cosines is None else cosines)


def standardised(values: Floats) -> Floats:
    """In standard deviations from the mean; all 0 when they do not differ, 0 where there is none (NaN)."""
    known = values[~np.isnan(values)]
    deviation = float(known.std()) if len(known) else 0.0
    if deviation < 1e-6:
        return np.zeros_like(values)
    made: Floats = np.nan_to_num((values - known.mean()) / np.float32(deviation), nan=0.0)
    return made


def _said(counts: Floats, lengths: Floats) -> Floats:
    """What each text says of each term, as a share of all that the question says."""
    if not counts.size:
        return counts
    rarity = _rarity((counts > 0).sum(axis=0).astype(np.float32), len(counts))
    size = (1 - LENGTH_SHARE + LENGTH_SHARE * lengths / max(1.0, float(lengths.mean())))[:, None]
    said = rarity * counts * (1 + SATURATION) / (counts + SATURATION * size)
    share: Floats = (said / rarity.sum()).astype(np.float32)
    return share


def _phrases(together: Floats) -> Floats:
    if not together.size:
        return np.zeros(len(together), np.float32)
    rarity = _rarity(together.sum(axis=0), len(together))
    shared: Floats = together @ rarity / rarity.sum()
    return shared


def _rarity(having: Floats, of: int) -> Floats:
    rarity: Floats = np.log(1 + (of - having + 0.5) / (having + 0.5)).astype(np.float32)
    return rarity


def _dense(cosines: Floats, around: Context) -> Floats:
    own = standardised(cosines)
    return standardised(own + np.float32(DENSE_CONTEXT) * neighbour_sum(own, around))


def _who(question: Question, candidates: Sequence[Candidate]) -> Floats:
    """How much of the speaker's name the question says; of what nobody speaks, whether it says a name of the question."""
    share: dict[str | None, float] = {}
    for speaker in {each.speaker for each in candidates}:
        name = name_words(speaker or "")
        share[speaker] = sum(word in question.people for word in name) / max(1, len(name))
    found = np.array([share[each.speaker] for each in candidates], np.float32)
    silent = [row for row, each in enumerate(candidates) if each.speaker is None]
    people = sorted({words.stem(word) for word in question.people})
    said = words.occurrences([f"{candidates[row].text}\n{candidates[row].names}" for row in silent], people).counts
    found[silent] = (said > 0).any(axis=1)
    return found


def _when(question: Question, candidates: Sequence[Candidate]) -> Floats:
    return np.array(
        [
            max((date.match(each.happened) for date in question.dates), default=0.0) if each.happened else 0.0
            for each in candidates
        ],
        np.float32,
    )


def _graph(candidates: Sequence[Candidate], near: Mapping[int, float]) -> Floats:
    most = max(near.values())
    return np.array([near.get(each.seq, 0.0) / most for each in candidates], np.float32)
