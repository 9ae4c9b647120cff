"""`make demo`: the service at work, on mathematics and on puzzles with grids, told as it happens.

    story     the order of it, and what is said at the beginning and at the end
    service   starts what `mneme serve` starts, on a port that is free, and waits for it
    telling   lines for the events of a run
    maths     three problems by an agent that learns
    puzzles   tasks of ARC, and one of them by the model of the service
    replay    two tasks whose replies stand in replay.toml; sandbox, memory and agent are real

Every memory of a demo lies in one vault, which is made for it. Source: ours.
"""

from api.demo.story import main, print_next

__all__ = ["main", "print_next"]
