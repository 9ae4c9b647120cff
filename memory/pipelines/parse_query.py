"""Understanding a question before it is searched for: other wordings, names, a period, kinds.

Only the fine search asks the model; the question itself is always one of the queries, so a bad answer can add but not take
away. Source: memos §3.2 (2), §3.14 (L2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, get_args

from pydantic import JsonValue

from memory.pipelines.asking import Asker, prompt_of
from memory.pipelines.replies import ParsedQuery, moment
from memory.types import SemanticType

PURPOSE: Final = "memory.parse_query"
PROMPT: Final = prompt_of("parse_query")
REWRITES: Final = 3
TURNS: Final = 6


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it is searched for: `queries` begins with the question itself; an open end of the period is None."""

    queries: tuple[str, ...]
    entities: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    kinds: tuple[SemanticType, ...] = ()
    intent: str = ""


def plain(question: str) -> Asked:
    """The question as it is, for the fast search and for when the model cannot be asked."""
    return Asked((question,))


async def parse_query(asker: Asker, run_id: str, question: str, turns: Sequence[str], now: datetime) -> Asked:
    """Ask the model; `turns` are the last ones before the question. Raises `ModelError`."""
    data: list[JsonValue] = [{"turn": turn} for turn in turns[-TURNS:]]
    data.append({"question": question})
    kinds = ", ".join(get_args(SemanticType))
    said, _ = await asker.ask(PURPOSE, run_id, PROMPT, ParsedQuery, data, now=now.date().isoformat(), kinds=kinds)
    rewrites = [" ".join(query.split()) for query in said.queries if query.strip()][:REWRITES]
    since, until = moment(said.time.since), moment(said.time.until)
    if since is not None and until is not None and until < since:
        since = until = None
    return Asked(
        tuple(dict.fromkeys((question, *rewrites))),
        tuple(dict.fromkeys(name.strip() for name in said.entities if name.strip())),
        since,
        until,
        tuple(dict.fromkeys(said.kinds)),
        said.intent.strip(),
    )
