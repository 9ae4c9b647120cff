"""What may become a memory: the rules that every draft passes before it is stored, and the score of what a model
extracted. Pure.

In order: a secret is held back; a claim in words that are stored already is a duplicate; what only repeats what was put into
the same prompt is an echo; text that says nothing is dropped; so is a claim that says no more than another; orders to a
model from outside wait for a person; and what a model drew from a span is scored by how well the span carries it, how new
it is, and how sure the model was. What a person writes on purpose meets the first rule only; of equal words, the store
keeps one (memory/store.py). Source: memos §3.1 (4, 5), §5 (poisoned memory), §7 (4, 15); ours for the claim test, which
keeps an update, a detail or a denial from passing as a duplicate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from memory.admitting import secrets
from memory.admitting.poisoning import orders
from memory.indices.words import STOP_WORDS, is_cjk
from memory.text import content_hash, distance, normalise, simhash, triples, words
from memory.types import Draft, Origin, SemanticType

Outcome = Literal["admit", "quarantine", "drop", "duplicate"]

DROP_BELOW: Final = 0.35
QUARANTINE_BELOW: Final = 0.55
SAME_COSINE: Final = 0.92
SAME_BITS: Final = 3
SIMHASH_WORDS: Final = 12
CONTAINED: Final = 0.8
CARRIED: Final = 0.5
# Signs of a script without spaces that a text needs to say something.
TELLING_SIGNS: Final = 4
EXTERNAL: Final[frozenset[Origin]] = frozenset({"external_retrieval", "import"})
# Prose that claims something. Files, notes and concepts may resemble each other and still be different things.
CLAIMS: Final[frozenset[SemanticType]] = frozenset({"fact", "preference", "event", "lesson", "experience"})
NUMBER: Final = re.compile(r"\d+(?:[.,:/-]\d+)*")
MONTH: Final = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?"
)
DAY: Final = r"\d{1,2}(?:st|nd|rd|th)?"
DATE: Final = re.compile(
    rf"\b\d{{4}}-\d{{2}}(?:-\d{{2}})?\b|\b(?:{DAY} )?{MONTH}(?: {DAY})?,? (?:19|20)\d\d\b",
    re.I,
)
YEAR: Final = re.compile(r"\b(?:19|20)\d\d\b")
# Such a text counts from the time it was said, so a year in the claim may be right without standing in it.
COUNTED: Final = re.compile(
    r"\b(?:ago|today|tonight|yesterday|tomorrow|recently|years?"
    r"|(?:last|next|this) (?:week|weekend|month|spring|summer|autumn|fall|winter))\b",
    re.I,
)
COUNT_WORDS: Final = "zero one two three four five six seven eight nine ten eleven twelve"
SPELLED: Final = {name: str(number) for number, name in enumerate(COUNT_WORDS.split())}
DENIALS: Final = re.compile(
    r"\b(?:no|not|never|none|nobody|nothing|neither|nor|without|cannot|\w+n['’]t|dislikes?|hates?|stopped|quit|former|formerly"
    r"|nicht|kein\w*|nie|niemals|ohne|pas|jamais|sans|nunca|sin|sem|não)\b"
)
NAME: Final = re.compile(r"(?<![.!?:\n]\s)(?<=\s)[\"'“(]?([A-ZÀ-ÖØ-Þ]\w+)")
FILLING: Final = """
    also always another anyone anything either else everyone everything get gets go goes got kind like lot made make makes
    many maybe me mentioned might much must okay ok one ones own per person quite rather really said say says somebody
    someone something sometimes somewhere sort speaker still stuff sure thank thanks thing things upon us user way well
    whatever would yeah yes yet
"""
EMPTY: Final = STOP_WORDS | frozenset(FILLING.split())


@dataclass(frozen=True, slots=True)
class Other:
    """A memory that is compared with the candidate; `cosine` None when there are no vectors. What two memories say of
    different subjects is never the same."""

    id: str
    content: str
    cosine: float | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A draft that wants in. `span` is the text it was drawn from (None: its writer vouches for it) and `quote` the words of
    the span that carry it; `fresh`: that span was not written by the model itself."""

    draft: Draft
    span: str | None = None
    quote: str | None = None
    fresh: bool = True

    @property
    def deliberate(self) -> bool:
        """Whether a person wrote these very words to be kept."""
        return self.draft.origin == "user_input" and self.span is None


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
    claims = draft.semantic_type in CLAIMS
    rivals = [other for other in neighbours if claims and not speak_of_others(draft.subject, other.subject)]
    for other in rivals:
        if content_hash(text) == content_hash(other.content):
            return Verdict("duplicate", 0.0, (f"the same words as {other.id}",), other.id)
    if candidate.deliberate:
        return Verdict("admit", 1.0)
    supported = is_supported(candidate)
    for other in injected:
        if not supported and is_echo(text, other):
            return Verdict("drop", 0.0, (f"repeats {other.id}, which stood in the same prompt",), other.id)
    if claims and is_vague(text):
        return Verdict("drop", 0.0, ("says nothing that can be looked up",))
    for other in rivals:
        if is_near_duplicate(text, other):
            return Verdict("duplicate", 0.0, (f"says no more than {other.id}",), other.id)
    told = orders(text) if draft.origin in EXTERNAL or not candidate.fresh else ()
    if told:
        return Verdict("quarantine", 0.0, tuple(f"from outside, and {order}" for order in told))
    grounding = grounding_of(candidate)
    points = score(grounding, novelty_of(text, neighbours), draft.confidence)
    reasons = ("its source does not carry it",) if grounding == 0.0 else ()
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
    span = candidate.span
    if span is None:
        return 1.0
    if not is_quoted(candidate.quote or "", span):
        return 0.0
    claim = DATE.sub(" ", candidate.draft.content)
    if COUNTED.search(span):
        claim = YEAR.sub(" ", claim)
    spelled = {SPELLED[word] for word in words(span) if word in SPELLED}
    if not set(_numbers(claim)) <= {*_numbers(span), *spelled}:
        return 0.0
    told = content_words(claim)
    carried = len(told & content_words(f"{span} {candidate.draft.speaker or ''}")) / max(1, len(told))
    return 1.0 if carried >= CARRIED else carried


def is_supported(candidate: Candidate) -> bool:
    """Whether the span says all of it, and was not written by the model: then it may repeat what the prompt held."""
    if candidate.span is None or not candidate.fresh:
        return False
    # Behind the dash its first word can be a name.
    return says_no_more(candidate.draft.content, f"- {candidate.span}")


def novelty_of(text: str, neighbours: Sequence[Other]) -> float:
    """1 − the similarity of the nearest neighbour, from 0 to 1; by shared words where there is no cosine."""
    mine = content_words(text)

    def likeness(other: Other) -> float:
        if other.cosine is not None:
            return other.cosine
        theirs = content_words(other.content)
        return len(mine & theirs) / max(1, len(mine | theirs))

    return 1.0 - min(1.0, max((0.0, *(likeness(other) for other in neighbours))))


def is_quoted(quote: str, span: str) -> bool:
    """Whether the words of the quote stand in the span one after another, whatever case, spaces and punctuation."""
    told = " ".join(words(quote))
    return bool(told) and f" {told} " in f" {' '.join(words(span))} "


def is_echo(text: str, other: Other) -> bool:
    """Whether the text says no more than `other`: the same words, nearly all of its word triples, or the same meaning."""
    if content_hash(text) == content_hash(other.content):
        return True
    mine, theirs = triples(text), triples(other.content)
    if mine and len(mine & theirs) / len(mine) >= CONTAINED:
        return True
    return (other.cosine or 0.0) >= SAME_COSINE


def is_near_duplicate(text: str, other: Other) -> bool:
    """Whether `other` sounds alike and the text says no more than it; a word of its own may be an update or a detail."""
    close = (other.cosine or 0.0) >= SAME_COSINE or words(text) == words(other.content)
    if not close and min(len(words(text)), len(words(other.content))) >= SIMHASH_WORDS:
        close = distance(simhash(text), simhash(other.content)) <= SAME_BITS
    return close and says_no_more(text, other.content)


def speak_of_others(a: str | None, b: str | None) -> bool:
    """Whether two subjects are known and are not the same one."""
    return a is not None and b is not None and normalise(a) != normalise(b)


def says_no_more(a: str, b: str) -> bool:
    """Whether every word, number and name of `a` stands in `b`, the names in the same order, and `b` denies no other way."""
    if not content_words(a) <= content_words(b) or _denials(a) != _denials(b):
        return False
    return _is_part(_numbers(a), _numbers(b)) and _is_part(_names(a), _names(b))


def is_vague(text: str) -> bool:
    """Whether nothing but pronouns and filling is in it, or a single word that says nothing alone."""
    told = {word for word in content_words(text) if not word.isdigit()}
    signs = sum(1 for word in told if is_cjk(word))
    return len(told) - signs + len(_numbers(text)) + (2 if signs >= TELLING_SIGNS else 0) < 2


def content_words(text: str) -> frozenset[str]:
    """The words that carry meaning, in lower case and without a plural or past ending."""
    plain = (re.sub(r"n?['’](?:s|t|re|ve|ll|d|m)$", "", word) for word in words(text))
    return frozenset(_stem(word) for word in plain if word not in EMPTY and (len(word) > 1 or is_cjk(word)))


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)].rstrip("e")
    return word.rstrip("e") if len(word) > 3 else word


def _numbers(text: str) -> list[str]:
    return NUMBER.findall(text)


def _names(text: str) -> list[str]:
    """Capitalised words that do not merely begin a sentence, in order."""
    return [_stem(found[1].casefold()) for found in NAME.finditer(text.strip()) if found[1].casefold() not in EMPTY]


def _denials(text: str) -> int:
    return len(DENIALS.findall(normalise(text))) % 2


def _is_part(some: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether all of `some` stand in `whole` in that order."""
    rest = iter(whole)
    return all(item in rest for item in some)
