"""The corpora that quality is measured on: what is asked has its answer in the texts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from evals.bench.corpora import documentation, documents, locomo

SOURCE = '''
def seal(wax):
    """Close a letter so that it stays closed.

    {first}

    {second}
    """
'''
FIRST = (
    "Hot wax is poured on the fold and pressed with a stamp, which leaves a mark that nobody else can make without it. "
    * 2
)
SECOND = (
    "A letter that was opened shows it, because wax breaks and does not grow together again, however warm the room is. "
    * 2
)


def test_a_question_is_a_first_line_and_its_answer_the_paragraph_below(tmp_path: Path) -> None:
    (tmp_path / "letters.py").write_text(SOURCE.format(first=FIRST, second=SECOND))
    (tmp_path / "broken.py").write_text("def (")
    made = documentation(tmp_path, paragraphs=10, questions=10, seed=0)
    assert made.paragraphs == [FIRST.strip(), SECOND.strip()]
    assert (made.questions, made.wanted) == (["Close a letter so that it stays closed."], [0])
    corpus = documents(made)
    assert [(text.session, text.position) for text in corpus.texts] == [("document 0", 0), ("document 0", 1)]
    assert [question.wanted for question in corpus.questions] == [{0}]


def test_no_more_paragraphs_than_asked_for(tmp_path: Path) -> None:
    (tmp_path / "letters.py").write_text(SOURCE.format(first=FIRST, second=SECOND))
    made = documentation(tmp_path, paragraphs=1, questions=10, seed=0)
    assert len(made.paragraphs) == len(made.places) == 1


def test_a_conversation_is_its_turns_and_the_questions_that_name_evidence(tmp_path: Path) -> None:
    turns = [
        {"speaker": "Ann", "dia_id": "D1:1", "text": "Look!", "blip_caption": "a heron"},
        {"speaker": "Bob", "dia_id": "D1:2", "text": "A heron"},
    ]
    asked = [
        {"question": "What did Ann show?", "answer": 1, "evidence": ["D1:1; D1:2", "D9:9"], "category": 4},
        {"question": "Nothing of it?", "evidence": ["D1:1"], "category": 5},
        {"question": "Where?", "evidence": [], "category": 1},
    ]
    said = {"session_2": turns[1:], "session_1": turns[:1], "speaker_a": "Ann"}
    said |= {f"session_{n}_date_time": f"1:56 pm on {n} May, 2023" for n in (1, 2)}
    file = tmp_path / "talks.json"
    file.write_text(json.dumps([{"sample_id": "talk", "conversation": said, "qa": asked}]))
    (corpus,) = locomo(file)
    first = corpus.texts[0]
    assert (first.content, first.speaker, first.session, first.position) == (
        "Look! [photo: a heron]",
        "Ann",
        "session 1",
        0,
    )
    assert first.at == datetime(2023, 5, 1, 13, 56, tzinfo=UTC)
    (question,) = corpus.questions
    assert (question.text, question.kind) == ("What did Ann show?", "single-hop")
    assert question.wanted == {0, 1}


def test_the_data_set_has_the_questions_it_is_said_to_have(shared_data: Path) -> None:
    talks = locomo(shared_data / "locomo" / "locomo7.json")
    assert len(talks) == 7
    assert sum(len(talk.questions) for talk in talks) == 1074
    assert sum(len(talk.texts) for talk in talks) == 4116
