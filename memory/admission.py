"""What may become a memory: the rules that every draft passes before it is stored, and the score of what a model
extracted. Pure.

In order: a secret is held back; words already stored are a duplicate; what only repeats what was put into the same prompt is
an echo; text that says nothing is dropped; orders to a model from outside wait for a person; and a claim that a model drew
from a span is scored by how well the span carries it, how new it is, and how sure the model was. What a person writes
on purpose meets the first two rules only. Source: memos §3.1 (4, 5), §5 (poisoned memory), §7 (4, 15); ours for the
claim test, which keeps an update or a denial from passing as a duplicate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from memory import secrets
from memory.indices.words import STOP_WORDS
from memory.poisoning import orders
from memory.text import content_hash, distance, normalise, simhash
from memory.types import Draft, Origin, SemanticType

Outcome = Literal["admit", "quarantine", "drop", "duplicate"]

DROP_BELOW: Final = 0.35
QUARANTINE_BELOW: Final = 0.55
SAME_COSINE: Final = 0.92
SAME_BITS: Final = 3
SIMHASH_WORDS: Final = 12
CONTAINED: Final = 0.8
CARRIED: Final = 0.5
EXTERNAL: Final[frozenset[Origin]] = frozenset({"external_retrieval", "import"})
# Prose that claims something. Files, notes and concepts may resemble each other and still be different things.
CLAIMS: Final[frozenset[SemanticType]] = frozenset({"fact", "preference", "event", "lesson", "experience"})
WORD: Final = re.compile(r"\w+(?:['’]\w+)?")
NUMBER: Final = re.compile(r"\d+(?:[.,:/-]\d+)*")
DATE: Final = re.compile(r"\b\d{4}-\d{2}(?:-\d{2})?\b")
SPELLED: Final = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
CJK: Final = re.compile("[\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]")
DENIALS: Final = re.compile(
    r"\b(?:no|not|never|none|nobody|nothing|neither|nor|without|cannot|\w+n['’]t|dislikes?|hates?|stopped|quit|former|formerly"
    r"|nicht|kein\w*|nie|niemals|ohne|pas|jamais|sans|nunca|sin|sem|não)\b"
)
FILLING: Final = """
    also always another anyone anything either else everyone everything get gets go goes got kind like lot made make makes
    many maybe me mentioned might much must okay ok one ones own per person quite rather really said say says somebody
    someone something sometimes somewhere sort speaker still stuff sure thank thanks thing things upon us user way well
    whatever would yeah yes yet
"""
EMPTY: Final = STOP_WORDS | frozenset(FILLING.split())


@dataclass(frozen=True, slots=True)
class Other:
    """A memory that is compared with the candidate; `cosine` None when there are no vectors."""

    id: str
    content: str
    cosine: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A draft that wants in. `span` is the text it was drawn from (None: its writer vouches for it) and `quote` the words of
    the span that carry it; `fresh`: that span was not written by the model itself."""

    draft: Draft
    span: str | None = None
    quote: str | None = None
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a candidate. `of` is the memory that a duplicate or an echo repeats; reasons hold no secret."""

    outcome: Outcome
    score: float = 1.0
    reasons: tuple[str, ...] = ()
    of: str | None = None


def decide(candidate: Candidate, neighbours: Sequence[Other] = (), injected: Sequence[Other] = ()) -> Verdict:
    """Judge one candidate against what the vault holds and what was injected into the prompt that it comes from."""
    draft = candidate.draft
    text = draft.content
    found = tuple(dict.fromkeys(secret.kind for secret in secrets.find(text)))
    if found:
        return Verdict("quarantine", 0.0, tuple(f"holds a secret: {kind}" for kind in found))
    own = draft.origin == "user_input" and candidate.span is None
    for other in neighbours:
        if content_hash(text) == content_hash(other.content):
            return Verdict("duplicate", 0.0, (f"the same words as {other.id}",), other.id)
    if own:
        return Verdict("admit", 1.0)
    supported = candidate.fresh and candidate.span is not None and is_quoted(candidate.quote or text, candidate.span)
    for other in injected:
        if not supported and is_echo(text, other):
            return Verdict("drop", 0.0, (f"repeats {other.id}, which stood in the same prompt",), other.id)
    claims = draft.semantic_type in CLAIMS
    if claims and is_vague(text):
        return Verdict("drop", 0.0, ("says nothing that can be looked up",))
    for other in neighbours:
        if claims and is_near_duplicate(text, other):
            return Verdict("duplicate", 0.0, (f"says the same as {other.id}",), other.id)
    told = orders(text) if draft.origin in EXTERNAL or not candidate.fresh else ()
    if told:
        return Verdict("quarantine", 0.0, tuple(f"from outside, and {order}" for order in told))
    grounding = grounding_of(candidate)
    points = score(grounding, novelty_of(text, neighbours), draft.confidence)
    reasons = ("its quote does not stand in its source",) if grounding == 0.0 else ()
    outcome = outcome_of(points) if candidate.span is not None else "admit"
    return Verdict(outcome, points, reasons if outcome == "admit" else (*reasons, f"scored {points:.2f}"))


def score(grounding: float, novelty: float, confidence: float) -> float:
    """0.4·grounding + 0.3·novelty + 0.3·confidence, each from 0 to 1."""
    return round(0.4 * grounding + 0.3 * novelty + 0.3 * confidence, 9)


def outcome_of(points: float) -> Literal["admit", "quarantine", "drop"]:
    """What a score means: below 0.35 dropped, below 0.55 quarantined."""
    return "drop" if points < DROP_BELOW else "quarantine" if points < QUARANTINE_BELOW else "admit"


def grounding_of(candidate: Candidate) -> float:
    """How well the span carries the claim: 1, or the share of its words when fewer than half stand there; 0 when the quote
    is not in the span, or the claim has a number that is not. Dates are left out: they were computed."""
    if candidate.span is None:
        return 1.0
    if not is_quoted(candidate.quote or "", candidate.span):
        return 0.0
    claim = DATE.sub(" ", candidate.draft.content)
    if not set(_numbers(claim)) <= {*_numbers(candidate.span), *_spelled(candidate.span)}:
        return 0.0
    told = content_words(claim)
    carried = len(told & content_words(f"{candidate.span} {candidate.draft.speaker or ''}")) / max(1, len(told))
    return 1.0 if carried >= CARRIED else carried


def novelty_of(text: str, neighbours: Sequence[Other]) -> float:
    """1 − the similarity of the nearest neighbour; by shared words where there is no cosine."""
    mine = content_words(text)

    def likeness(other: Other) -> float:
        if other.cosine is not None:
            return other.cosine
        theirs = content_words(other.content)
        return len(mine & theirs) / max(1, len(mine | theirs))

    return 1.0 - min(1.0, max((likeness(other) for other in neighbours), default=0.0, key=float))


def is_quoted(quote: str, span: str) -> bool:
    """Whether the words of the quote stand in the span one after another, whatever case, spaces and punctuation."""
    words = " ".join(WORD.findall(normalise(quote)))
    return bool(words) and f" {words} " in f" {' '.join(WORD.findall(normalise(span)))} "


def is_echo(text: str, other: Other) -> bool:
    """Whether the text says no more than `other`: the same words, nearly all of its word triples, or the same meaning."""
    if content_hash(text) == content_hash(other.content):
        return True
    mine, theirs = _triples(text), _triples(other.content)
    if mine and len(mine & theirs) / len(mine) >= CONTAINED:
        return True
    return (other.cosine or 0.0) >= SAME_COSINE


def is_near_duplicate(text: str, other: Other) -> bool:
    """Whether `other` says the same in other words. Another number, name or denial makes it another claim."""
    close = (other.cosine or 0.0) >= SAME_COSINE
    if not close and min(len(WORD.findall(text)), len(WORD.findall(other.content))) >= SIMHASH_WORDS:
        close = distance(simhash(text), simhash(other.content)) <= SAME_BITS
    mine, theirs = content_words(text), content_words(other.content)
    if mine == theirs and mine:
        close = close or normalise(text).split() == normalise(other.content).split()
    return close and same_particulars(text, other.content) and len(mine - theirs) <= max(1, len(mine) // 4)


def same_particulars(a: str, b: str) -> bool:
    """Whether both name the same numbers and names, and deny as often."""
    return (_numbers(a), _names(a), _denials(a)) == (_numbers(b), _names(b), _denials(b))


def is_vague(text: str) -> bool:
    """Whether nothing but pronouns and filling is in it, or a single word that says nothing alone."""
    if CJK.search(text):
        return len(CJK.findall(text)) < 4
    return len(content_words(text)) + len(_numbers(text)) < 2


def content_words(text: str) -> frozenset[str]:
    """The words that carry meaning, in lower case and without a plural or past ending."""
    plain = (re.sub(r"n?['’](?:s|t|re|ve|ll|d|m)$", "", word) for word in WORD.findall(normalise(text)))
    return frozenset(_stem(word) for word in plain if word not in EMPTY and len(word) > 1)


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)].rstrip("e")
    return word.rstrip("e") if len(word) > 3 else word


def _triples(text: str) -> frozenset[tuple[str, ...]]:
    words = WORD.findall(normalise(text))
    return frozenset(zip(words, words[1:], words[2:], strict=False)) or frozenset({tuple(words)} if words else ())


def _numbers(text: str) -> tuple[str, ...]:
    return tuple(sorted(NUMBER.findall(text)))


def _spelled(text: str) -> set[str]:
    words = set(WORD.findall(normalise(text)))
    return {str(number) for number, name in enumerate(SPELLED) if name in words}


def _names(text: str) -> frozenset[str]:
    """Capitalised words that do not merely begin a sentence."""
    found = re.finditer(r"(?<![.!?:\n])(?<=\s)[\"'“(]?([A-ZÀ-ÖØ-Þ]\w+)", text.strip())
    return frozenset(_stem(match[1].casefold()) for match in found if match[1].casefold() not in EMPTY)


def _denials(text: str) -> int:
    return len(DENIALS.findall(normalise(text))) % 2
