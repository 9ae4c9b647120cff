"""Which answers are the strongest: first by what code found out, then by the posterior of all judgements. Source:
ours."""

from __future__ import annotations

from search.tree import Node, Tree


def by_strength(tree: Tree) -> list[Node]:
    """The ok nodes, best first: by what code found out, then by the mean of the posterior, then by id."""
    means = tree.posterior().mean
    ranked = sorted(zip(tree.ok(), means, strict=True), key=lambda pair: (-level(pair[0]), -pair[1], pair[0].id))
    return [node for node, _ in ranked]


def champion(tree: Tree) -> int:
    """The id of the best ok node, 0 when none is."""
    best = by_strength(tree)
    return best[0].id if best else 0


def level(node: Node) -> float:
    """Its objective; 0.5 when code said nothing: better than a failure, worse than a pass."""
    return 0.5 if node.objective is None else node.objective


def same_answer(a: Node, b: Node) -> bool:
    """True when their canonical forms say so, or, where one has none, their texts."""
    return a.answer == b.answer if a.final is None or b.final is None else a.final == b.final
