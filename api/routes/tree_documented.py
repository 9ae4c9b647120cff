"""What `GET /api/runs/{id}/tree` answers, for `/openapi.json`. Source: contract §4; empirical_mcts §2; tim §2."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from api.routes.documented import Documented


class SearchNode(Documented):
    """One answer. `how`: from the prompt of its parent, as a new start, or merged from two answers; `objective`: what a
    checker found, 0 to 1; `memories`: those that it was shown."""

    id: int
    parent: int | None
    depth: int
    children: list[int]
    how: Literal["child", "fresh", "merge"]
    answer: str
    final: str | None
    objective: float | None
    gen_prompt: str
    evolved_prompt: str | None
    model: str | None
    q_local: float
    q_global: float
    value: float
    visits: int
    status: Literal["ok", "gen_failed", "judge_failed", "duplicate"]
    memories: list[str]


class SearchComparison(Documented):
    """One judgement. `swapped`: the child was shown first, null when both orders were judged; `data`: what the judge
    wrote."""

    child: int
    opponent: int
    s_child: float
    s_opponent: float
    swapped: bool | None
    iteration: int
    data: dict[str, JsonValue]


class SearchTree(Documented):
    """The search tree of a run. `best` is the node that would be, or was, the answer; null before there is one."""

    kind: Literal["search"]
    nodes: list[SearchNode]
    comparisons: list[SearchComparison]
    best: int | None


class ThreadNode(Documented):
    """One task. `kind`: in a typed tree; `live`: the model still sees it; `tokens`: of everything that was written in it;
    `pruned_at`: the event with which it left the working memory; `recalled`: how often it was read back."""

    path: str
    parent: str | None
    depth: int
    kind: str | None
    title: str
    thought: str | None
    tool: str | None
    conclusion: str | None
    state: Literal["open", "tool_wait", "in_subtasks", "closed"]
    live: bool
    tokens: int
    pruned_at: int | None
    recalled: int


class MemoryPoint(Documented):
    """The working memory behind a step, in tokens: what is live, the most that was, what left it so far, what moved up
    behind such a cut, what was read back. A step of a branch beside others tells of that branch."""

    step: str
    seq: int
    at: str
    live: int
    peak: int
    pruned: int
    reencoded: int
    recalled: int


class ThreadTree(Documented):
    """The thread tree of a run: its tasks, its working memory over time, and the whole document as far as it has grown."""

    kind: Literal["thread"]
    nodes: list[ThreadNode]
    series: list[MemoryPoint]
    document: dict[str, JsonValue]


Tree = SearchTree | ThreadTree
