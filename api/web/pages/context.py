"""Context of a run: what the model saw at a step, part by part, and how it differs from another step.

The prompts are rebuilt from the log (agents/replaying.py). Where one cannot be, the page says why, and shows the counts of
its calls, which are known in any case. Source: design ui.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from agents.prompt_parts import Part, parts_of
from agents.replaying import Prompt, Rebuilt
from agents.service import Service
from agents.tasks import parse_input
from api.auth import Reader, TheService
from api.route import Route
from api.routes.wire import PlainText, RunId
from api.web.differing import Piece, differing, same_start
from api.web.pages.runs import grows_tree
from api.web.render import excerpt, twin
from api.web.rows import question_of
from runtime.errors import UnknownName
from runtime.events import LlmCall
from runtime.runs import RunRecord
from runtime.types import Message

router = APIRouter(include_in_schema=False, route_class=Route)
PAGE: Final = 1000
LISTED: Final = 400
TITLE: Final = 120
TONES: Final[Mapping[str, str]] = {
    "system": "k6",
    "tools": "k2",
    "recalled": "k4",
    "working memory": "accent",
    "history": "k3",
    "request": "k5",
    "instructions": "calm",
    "form": "soft",
}
Name = Annotated[PlainText | None, Query(max_length=300)]


@router.get("/ui/runs/{run_id}/context")
async def context_page(
    request: Request, run_id: RunId, service: TheService, caller: Reader, step: Name = None, other: Name = None
) -> Response:
    """What the model saw at `step`, by default the last one; with `other` how it differs from that step."""
    run = await service.get(run_id, owner=caller.user_id)
    steps = await _steps(service, run_id)
    if missing := next((name for name in (step, other) if name is not None and name not in steps), None):
        raise UnknownName(f"step {missing!r}: no step of run {run_id!r} asked the model under that name", param="step")
    names = list(steps)
    shown = step if step is not None or not names else names[-1]
    sent = await _rebuilt(service, run, shown)
    against = await _rebuilt(service, run, other)
    known = request_of(run)
    view = {
        "run": {"id": run.id, "agent": run.agent, "status": run.status},
        "step": shown,
        "other": other,
        "calls": [call for calls in steps.values() for call in calls],
        "parts": _parts(sent, shown, known),
        "exact": _exact(sent, shown),
        "missing": sent.missing,
        "changed": [*sent.changed],
        "difference": _difference(sent, shown, against, other),
    }
    place = names.index(shown) if shown in steps else 0
    return twin(
        request,
        "context.html",
        view,
        question=excerpt(question_of(run.spec.input), TITLE),
        has_tree=grows_tree(run.agent),
        steps=[_told(name, calls) for name, calls in steps.items()],
        listed=LISTED,
        place=place,
        before=names[place - 1] if place > 0 else None,
        behind=names[place + 1] if place + 1 < len(names) else None,
        call=_told(shown, steps[shown]) if shown in steps else None,
        tones=TONES,
        missing_other=against.missing,
    )


def request_of(run: RunRecord) -> Sequence[Message]:
    """The messages of the caller."""
    return parse_input(run.spec.input).messages()


async def _steps(service: Service, run_id: str) -> dict[str, list[dict[str, Any]]]:
    """The calls of the run by the step that made them, in order."""
    steps: dict[str, list[dict[str, Any]]] = {}
    after = 0
    while page := await service.store.events(run_id, after=after, limit=PAGE, types=("llm.call",)):
        after = page[-1].seq
        for line in page:
            if isinstance(line.payload, LlmCall):
                steps.setdefault(line.step or "", []).append(line.wire())
    return steps


async def _rebuilt(service: Service, run: RunRecord, step: str | None) -> Rebuilt:
    return Rebuilt() if step is None else await service.prompts(run.id, owner=run.owner, step=step)


def _told(name: str, calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A step in one line: its first call, and how many it made."""
    return {"name": name, "made": len(calls), **calls[0]["data"], "seq": calls[0]["seq"]}


def _prompt(sent: Rebuilt, step: str | None) -> Prompt | None:
    return sent.prompts.get(step) if step is not None else None


def _exact(sent: Rebuilt, step: str | None) -> bool:
    prompt = _prompt(sent, step)
    return prompt is not None and prompt.exact


def _parts(sent: Rebuilt, step: str | None, request: Sequence[Message]) -> list[dict[str, Any]] | None:
    """The parts with their share of all tokens; None when the prompt is not known."""
    prompt = _prompt(sent, step)
    if prompt is None:
        return None
    parts: list[Part] = parts_of(prompt, request)
    total = sum(part.tokens for part in parts) or 1
    return [{**asdict(part), "share": part.tokens / total} for part in parts]


def _difference(sent: Rebuilt, step: str | None, against: Rebuilt, other: str | None) -> dict[str, Any] | None:
    """How the prompt of a step differs from that of the other one: what is only in one of them, and how far both begin
    alike, which is what a prefix cache can serve."""
    now, then = _prompt(sent, step), _prompt(against, other)
    if now is None or then is None:
        return None
    texts = [_whole(prompt.messages) for prompt in (then, now)]
    pieces: list[Piece] = differing(*texts)
    return {"pieces": [piece._asdict() for piece in pieces], "same_start": same_start(*texts), "chars": len(texts[1])}


def _whole(messages: Sequence[Message]) -> str:
    return "\n\n".join(f"{message.role}:\n{message.text}" for message in messages)
