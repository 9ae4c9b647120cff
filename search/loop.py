"""What all searches share: the first answer, then rollouts until something ends them.

A rollout is done entirely or not at all: its events come as they happen, but its node joins the tree with the last of
them, and a budget that ends in between leaves the tree as it was before. What differs between searches is the
plan: which answer to make next, and whom to judge it against. Source: empirical_mcts §3.2, §3.9, §5.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Final, NamedTuple

from runtime.errors import BudgetExhausted, InvalidInput
from search.base import Budget, Evaluation, Expansion, Made, Problem
from search.bradley_terry import sigmoid_of
from search.events import BackedUp, Comparison, Created, Reason, Scored, Selected, Stopped, TreeEvent
from search.stopping import enough
from search.strength import champion, same_answer
from search.tree import Node, Tree

# Below this probability of being the best, a new answer is not worth a second judgement.
CONFIRM: Final = 0.4


class Plan(NamedTuple):
    """Work on `node`, chosen with that score, make an answer that way, and judge it beside these nodes, in order."""

    node: int
    score: float
    how: Expansion
    opponents: tuple[int, ...]


Planner = Callable[[Tree], Plan | None]


async def run(problem: Problem, tree: Tree, budget: Budget, planner: Planner) -> AsyncIterator[TreeEvent]:
    """Fill the tree, yielding each event after it was applied. `planner` gives None when nothing can be made any more.

    Raises `BudgetExhausted` when not even the first answer could be made, `InvalidInput` when it is not one, and what
    the problem raises.
    """
    if not tree.nodes:
        budget.check()
        for event in _first(await problem.root()):
            tree.apply(event)
            yield event
    while True:
        plan: Plan | None = None
        end: Reason | None = enough(tree) or ("rollouts" if tree.iteration >= budget.rollouts else None)
        if end is None and (plan := planner(tree)) is None:
            end = "exhausted"
        if plan is None:
            assert end is not None
            stopped = Stopped(end)
            break
        try:
            async with aclosing(_rollout(problem, tree, budget, plan)) as events:
                async for event in events:
                    tree.apply(event)
                    yield event
        except BudgetExhausted as error:
            stopped = Stopped("budget", error.limit)
            break
    tree.apply(stopped)
    yield stopped


def _first(made: Made) -> tuple[TreeEvent, TreeEvent]:
    if made.status != "ok":
        raise InvalidInput(
            f"the first answer has status {made.status!r}, expected 'ok'; a problem that has none must raise"
        )
    created = Created(0, 0, None, 0, made.answer, made.final, made.objective, "ok", Expansion("fresh"), made.data)
    return created, BackedUp(0, 0)


async def _rollout(problem: Problem, tree: Tree, budget: Budget, plan: Plan) -> AsyncGenerator[TreeEvent, None]:
    """The events of one rollout; each is applied to the tree before the next is asked for."""
    iteration, new = tree.iteration + 1, len(tree)
    budget.check()
    yield Selected(iteration, plan.node, plan.how, plan.score)
    made = await problem.expand(tree, tree.nodes[plan.node], plan.how)
    yield _created(tree, plan.how, made)
    child = tree.node(new)
    if child.status == "ok":
        evaluations: list[Evaluation] = []
        for opponent in plan.opponents:
            if not _worth_judging(tree, child, tree.nodes[opponent], first=opponent == plan.opponents[0]):
                continue
            budget.check()
            said = await problem.compare(tree, child, tree.nodes[opponent])
            yield _scored(tree, child, opponent, said, first=not evaluations)
            evaluations += [] if said is None else [said]
        if evaluations:
            await problem.learn(tree, child, evaluations)
    yield BackedUp(iteration, new)


def _created(tree: Tree, how: Expansion, made: Made | None) -> Created:
    parent = None if how.parent is None else tree.nodes[how.parent]
    depth = 0 if parent is None else parent.depth + 1
    made = Made("", status="gen_failed") if made is None else made
    status = made.status
    repeated = parent is not None and made.answer == parent.answer
    if status == "ok" and repeated and not tree.profile.spare_judge:
        status = "duplicate"
    return Created(
        tree.iteration + 1,
        len(tree),
        how.parent,
        depth,
        made.answer,
        made.final,
        made.objective,
        status,
        how,
        made.data,
    )


def _worth_judging(tree: Tree, child: Node, opponent: Node, *, first: bool) -> bool:
    """False where the verdict is known, or is not worth a call.

    An answer that passed needs no judge where a pass ends the search. Where the profile spares the judge: the same
    answer is not compared with itself; the first opponent is judged even if code knows which is better, for the
    lessons; a further one only if code does not know, and the answer may still be the best.
    """
    if child.objective == 1.0 and tree.profile.stop_on_pass:
        return False
    if not tree.profile.spare_judge:
        return True
    if same_answer(child, opponent):
        return False
    return first or (child.objective == opponent.objective and tree.chance(champion(tree)) >= CONFIRM)


def _scored(tree: Tree, child: Node, opponent: int, said: Evaluation | None, *, first: bool) -> Scored:
    """A failed judgement makes the node `judge_failed` unless another one succeeds or code knows what the answer is
    worth."""
    if said is None:
        failed = first and child.objective is None
        return Scored(
            tree.iteration + 1, child.id, opponent, None, child.q_local, "judge_failed" if failed else child.status
        )
    comparison = Comparison(
        child.id, opponent, said.s_child, said.s_opponent, said.swapped, tree.iteration + 1, said.data
    )
    q_local = child.q_local
    if first:
        q_local = sigmoid_of(said.s_child - said.s_opponent)
        mine, theirs = child.objective, tree.nodes[opponent].objective
        if tree.profile.spare_judge and mine is not None and theirs is not None and mine != theirs:
            q_local = float(mine > theirs)
    return Scored(tree.iteration + 1, child.id, opponent, comparison, q_local, "ok", said.update)
