"""Real texts with real questions, whose answers are known: documentation, and conversations.

Documentation: the docstrings of the installed packages. A question is the first line of a docstring, its answer the
paragraph that follows, which must be found among all paragraphs. Conversations: LoCoMo, whose questions name the turns
that answer them. Source: embedding_storage §7; design storage §4b; Maharana et al. 2024 (LoCoMo); ours.
"""

from __future__ import annotations

import ast
import inspect
import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

SHORTEST_PARAGRAPH, LONGEST_PARAGRAPH = 120, 1200
SHORTEST_QUESTION = 25
LARGEST_FILE = 400_000
# What is looked for in a conversation; the fifth category asks for what is not there.
ANSWERED: Final = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}
SESSION: Final = re.compile(r"session_(\d+)")
TURN: Final = re.compile(r"D\d+:\d+")
WHEN: Final = "%I:%M %p on %d %B, %Y"


class Labelled(NamedTuple):
    """Paragraphs, questions, and for each question the place of its paragraph; `places`: for each paragraph its document
    and where in it it stands."""

    paragraphs: list[str]
    questions: list[str]
    wanted: list[int]
    places: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Text:
    """One memory, as somebody would give it to a store."""

    content: str
    session: str
    position: int
    speaker: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """`wanted`: the places of the texts that answer it."""

    text: str
    wanted: frozenset[int]
    kind: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """Texts in the order in which they came, and questions about them."""

    name: str
    texts: tuple[Text, ...]
    questions: tuple[Question, ...]


def documentation(folder: Path, *, paragraphs: int, questions: int, seed: int) -> Labelled:
    """Paragraphs below `folder`, in an order that the seed decides; as many as there are when there are fewer."""
    files = sorted(path for path in folder.rglob("*.py") if path.stat().st_size < LARGEST_FILE)
    random.Random(seed).shuffle(files)
    texts: dict[str, int] = {}
    places: list[tuple[int, int]] = []
    asked: dict[str, int] = {}
    documents = 0
    for path in files:
        for summary, body in _docstrings(path):
            fresh = [(place, part) for place, part in enumerate(body) if part not in texts]
            for place, part in fresh[: paragraphs - len(texts)]:
                if part not in texts:
                    texts[part] = len(texts)
                    places.append((documents, place))
            documents += 1
            # The words of the question must not stand in the answer as they are.
            if len(asked) < questions and fresh and fresh[0][1] in texts and summary not in fresh[0][1]:
                asked.setdefault(summary, texts[fresh[0][1]])
        # Questions are about paragraphs that are taken up, so there will be no more of them either.
        if len(texts) >= paragraphs:
            break
    return Labelled(list(texts), list(asked), list(asked.values()), places)


def documents(labelled: Labelled) -> Corpus:
    """The documentation as a corpus: each docstring is a session, its paragraphs stand in it in order."""
    texts = (
        Text(paragraph, f"document {document}", place)
        for paragraph, (document, place) in zip(labelled.paragraphs, labelled.places, strict=True)
    )
    questions = (
        Question(question, frozenset({wanted}), "documentation")
        for question, wanted in zip(labelled.questions, labelled.wanted, strict=True)
    )
    return Corpus("documentation", tuple(texts), tuple(questions))


def locomo(file: Path) -> list[Corpus]:
    """The conversations of LoCoMo, one corpus each, with the questions of `ANSWERED` that name their evidence. A picture
    is its caption. Raises `OSError`, and `ValueError` for a file that is not LoCoMo."""
    return [_conversation(sample) for sample in json.loads(file.read_text(encoding="utf-8"))]


def _conversation(sample: Mapping[str, Any]) -> Corpus:
    said = sample["conversation"]
    numbers = sorted(int(match[1]) for key in said if (match := SESSION.fullmatch(key)))
    texts: list[Text] = []
    place: dict[str, int] = {}
    for number in numbers:
        at = datetime.strptime(said[f"session_{number}_date_time"], WHEN).replace(tzinfo=UTC)
        for position, turn in enumerate(said[f"session_{number}"]):
            place[turn["dia_id"]] = len(texts)
            texts.append(Text(_content(turn), f"session {number}", position, turn["speaker"], at))
    questions = []
    for asked in sample["qa"]:
        # Some entries hold several ids in one string, some an id that there is not.
        ids = TURN.findall(" ".join(asked.get("evidence", ())))
        wanted = frozenset(place[turn] for turn in ids if turn in place)
        if asked["category"] in ANSWERED and wanted:
            questions.append(Question(asked["question"], wanted, ANSWERED[asked["category"]]))
    return Corpus(sample["sample_id"], tuple(texts), tuple(questions))


def _content(turn: Mapping[str, Any]) -> str:
    caption = turn.get("blip_caption")
    return f"{turn['text']} [photo: {caption}]".strip() if caption else turn["text"]


def _docstrings(path: Path) -> Iterator[tuple[str, list[str]]]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        first, *rest = inspect.cleandoc(ast.get_docstring(node) or "").split("\n\n")
        body = [" ".join(part.split()) for part in rest if ">>>" not in part]
        body = [part for part in body if SHORTEST_PARAGRAPH <= len(part) <= LONGEST_PARAGRAPH]
        if len(first) >= SHORTEST_QUESTION and body:
            yield " ".join(first.split()), body
