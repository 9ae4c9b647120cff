"""Which answer to give when the search is over.

    fused   highest alpha · Q_global + (1 − alpha) · Q_local; the propagated value is not used
    q       highest propagated value
    vote    the canonical answer with the highest sum of fused scores, and its best node
    mass    the canonical answer with the highest posterior mass, and its strongest node

The mass of an answer is the expected share of its nodes in a vote where each counts exp(temper · strength): with temper
0 a plain majority, with a high one the probability of being the best. Only ok nodes compete, if there is one. What code
found out comes first where the profile stops on a pass: a passed answer beats every other, and with `mass` a higher
objective beats a lower one. An answer without a canonical form has no vote where others have one. Ties go to the
smallest id. Source: empirical_mcts §3.9; `mass` ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from runtime.errors import InvalidInput
from search.profile import Profile
from search.strength import level
from search.tree import Node, Tree

DRAWS: Final = 1024


@dataclass(frozen=True, slots=True)
class Choice:
    """The answer: node `best`, the one at the other end, and (id, score) of all that competed, best first.

    `masses` is the share of each canonical answer under `vote` and `mass`, empty otherwise or when there are none.
    """

    best: int
    worst: int
    ranking: tuple[tuple[int, float], ...]
    masses: Mapping[str, float]


def choose(tree: Tree) -> Choice:
    """The answer by the `final` rule of the profile. Raises `InvalidInput` on a tree without nodes."""
    if not tree.nodes:
        raise InvalidInput("the tree has no answer yet; run the search first")
    able = tree.ok() or [node for node in tree.nodes if node.status == "judge_failed"] or tree.nodes[:1]
    scores = _scores(tree, able)
    by_answer: Mapping[str, float] = {}
    if tree.profile.final in ("vote", "mass"):
        by_answer = _by_answer(able, scores if tree.profile.final == "vote" else weights(tree))

    def place(node: Node) -> tuple[float, float, float, int]:
        share = 0.0 if node.final is None else by_answer.get(node.final, 0.0)
        return (-_objectively(tree.profile, node), -share, -scores[node.id], node.id)

    ranked = sorted(able, key=place)
    return Choice(ranked[0].id, ranked[-1].id, tuple((node.id, scores[node.id]) for node in ranked), by_answer)


def _objectively(rules: Profile, node: Node) -> float:
    """By how much what code found out puts the node before or behind all others."""
    if rules.final == "mass":
        return level(node)
    return 1.0 if rules.stop_on_pass and node.objective == 1.0 else 0.0


def _scores(tree: Tree, able: Sequence[Node]) -> dict[int, float]:
    rules = tree.profile
    match rules.final:
        case "q":
            return {node.id: node.value for node in able}
        case "mass":
            return {node.id: node.q_global for node in able}
        case "fused" | "vote":
            return {node.id: rules.alpha * node.q_global + (1.0 - rules.alpha) * node.q_local for node in able}


def weights(tree: Tree) -> dict[int, float]:
    """The expected share of each node in the vote of `mass`; they sum to 1. Nodes below the highest objective have
    none."""
    able = tree.ok()
    if not able:
        return {node.id: 0.0 for node in tree.nodes}
    levels = np.array([level(node) for node in able])
    top = levels == levels.max()
    # The same draws for the same tree: what to answer is no matter of luck.
    drawn = tree.profile.temper * tree.posterior().draws(DRAWS, np.random.default_rng(0))[:, top]
    shares = np.exp(drawn - drawn.max(axis=1, keepdims=True))
    mean = np.zeros(len(able))
    mean[top] = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
    return {node.id: float(share) for node, share in zip(able, mean, strict=True)}


def _by_answer(able: Sequence[Node], shares: Mapping[int, float]) -> dict[str, float]:
    """The part of the whole that each canonical answer has."""
    sums: dict[str, float] = {}
    for node in able:
        if node.final is not None:
            sums[node.final] = sums.get(node.final, 0.0) + shares.get(node.id, 0.0)
    total = sum(sums.values())
    return {final: part / total for final, part in sums.items()} if total else sums
