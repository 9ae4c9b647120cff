"""Text that talks to a model instead of saying something: orders hidden in what should be data. Pure.

Such text is stored as data and never followed; when it comes from outside it waits for a person. The patterns look for
orders to a model, not for orders as such: a recipe may say "add the salt". Each is a chain of word groups that stand
near each other within one sentence. Source: memos §5 (poisoned memory); ours.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\U000e0000-\U000e007f]")
# Not behind a black flag, where such signs spell England, Scotland or Wales.
HIDDEN: Final = re.compile("(?<![\U0001f3f4\U000e0020-\U000e007e])[\U000e0020-\U000e007e]{4}")

IGNORE: Final = "ignore|disregard|forget|override|bypass|skip"
EARLIER: Final = "previous|prior|above|earlier|preceding|former|existing|your|all|any|system|those"
RULES: Final = "instructions?|prompts?|rules?|guidelines?|directions?|directives?|orders|messages?|guardrails?|context"
MODEL: Final = "ai|llms?|assistants?|language models?|chatbots?|ai agents?"
MUST: Final = "must|shall|should|has to|have to|is required to|are required to|is instructed to|are instructed to"
ANSWER: Final = "you|always|never|must|answer|reply|respond|say|recommend|assistant|the ai|the model"
TELL: Final = "answer|reply|respond|tell|say|recommend|claim|mention|state|insist|refer|direct"
DO: Final = "ignore|obey|follow|execute|run|buy|click|visit|delete|send|treat|rank|rate|prefer|praise|choose"
OBEY: Final = f"always|never|not|{TELL}|{DO}"
WITHHOLD: Final = "tell|telling|inform|informing|mention|mentioning|alert|alerting|notify|notifying|show|showing"
PRIVATE: Final = (
    "conversations?|chats?|memory|memories|history|credentials?|passwords?|api keys?|user data|secrets?|system prompt"
)


def _chain(*groups: str, gaps: Sequence[int], between: str = r"[^.\n]") -> re.Pattern[str]:
    """The groups in this order, each at most so many characters behind the one before."""
    form = rf"\b(?:{groups[0]})\b"
    for gap, group in zip(gaps, groups[1:], strict=True):
        form += rf"{between}{{0,{gap}}}\b(?:{group})\b"
    return re.compile(form)


ORDERS: Final[tuple[tuple[str, tuple[re.Pattern[str], ...]], ...]] = (
    (
        "it tells a model to ignore its instructions",
        (
            _chain(IGNORE, EARLIER, RULES, gaps=(40, 30), between=r"[^.,;\n]"),
            _chain(IGNORE, "everything|anything|all", "above|before|previous(?:ly)?|so far", gaps=(2, 25)),
            _chain("ignoriere|vergiss|missachte", "anweisungen|regeln|vorgaben", gaps=(40,)),
            _chain("ignorez?|oubliez?", "instructions|consignes|règles", gaps=(40,)),
            _chain("ignora|ignore|olvida|esqueça", "instrucciones|instruções|reglas|regras|istruzioni", gaps=(40,)),
            re.compile(r"忽略.{0,10}(?:指令|指示|提示)|(?:指示|命令).{0,6}無視"),
        ),
    ),
    (
        "it gives a model another role",
        (
            _chain("you are now|you are no longer", f"{MODEL}|bot|dan|unrestricted|jailbroken|admin mode", gaps=(60,)),
            _chain(
                "pretend to be|act as|act like|behave as", "no|without", "restrictions?|rules|filters?", gaps=(40, 20)
            ),
        ),
    ),
    (
        "it poses as a message of the system",
        (
            re.compile(r"<\|?(?:im_start|im_end|system|endoftext|start_header_id)\|?>|\[/?inst\]|<</?sys>>"),
            re.compile(r"</?system(?:[ _-]prompt)?>"),
            re.compile(r"(?m)^\W{0,4}(?:system|developer)(?: message| prompt| override| note)?\s*:\s*\S"),
            _chain("begin|end|new|updated", "system|developer|admin", "prompt|message|override", gaps=(2, 12)),
            re.compile(r"(?m)^\W{0,4}(?:new|updated|additional) instructions?\s*:\s*\S"),
        ),
    ),
    (
        "it asks for a prompt",
        (
            _chain(
                "reveal|print|repeat|show|output|leak|disclose",
                "system|hidden|initial|secret",
                "prompt|instructions?",
                gaps=(30, 10),
            ),
        ),
    ),
    (
        "it orders what to answer",
        (
            _chain("from now on|henceforth|in all answers|in every reply|in any response", ANSWER, gaps=(40,)),
            re.compile(
                r"\b(?:when|whenever|if)\b[^.\n]{0,40}\b(?:users?|anyone|someone|asked|asks?)\b[^.\n]{0,60}(?:,|\bthen|\bplease)\s*"
                rf"(?:you (?:must|should|will|shall)\b|(?:please |always |never |only )*(?:{TELL})\b)"
            ),
            _chain(MODEL, MUST, OBEY, gaps=(30, 8)),
        ),
    ),
    (
        "it speaks to a model",
        (
            _chain("hey|attention|note to|instructions? (?:for|to)", MODEL, gaps=(8,)),
            _chain(MODEL, "reading|processing|summari[sz]ing|parsing", "this", gaps=(12, 2)),
        ),
    ),
    ("it hides something from the user", (_chain("do not|don't|never|without", WITHHOLD, "users?", gaps=(10, 25)),)),
    (
        "it sends data away",
        (
            re.compile(
                rf"\b(?:send|post|forward|upload|exfiltrate|transmit|leak)\b[^.\n]{{0,60}}\b(?:{PRIVATE})\b"
                r"[^\n]{0,40}(?:https?://|\bto\b[^\n]{0,20}@|\bwebhook\b)"
            ),
        ),
    ),
)


def orders(text: str) -> tuple[str, ...]:
    """What the text tries to make a model do, in words; empty for text that only says something."""
    plain = INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).casefold()
    found = [name for name, forms in ORDERS if any(form.search(plain) for form in forms)]
    if HIDDEN.search(text):
        found.append("it hides text in invisible characters")
    return tuple(found)
