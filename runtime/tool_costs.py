"""How many input tokens a run with tools costs, by how it is driven. Pure arithmetic. Source: tim §3.4.

A loop outside the model server sends the whole history again with every call; inside one run each token enters once.
"""

from __future__ import annotations


def client_loop_tokens(*, prompt: int, generated: int, result: int, calls: int) -> int:
    """Input tokens of a loop that resends everything: `(n+1)·p + (g+r)·n(n+1)/2` for n tool calls, a prompt of p tokens,
    g generated and r result tokens for each call, and one last request for the answer."""
    return (calls + 1) * prompt + (generated + result) * calls * (calls + 1) // 2


def in_run_tokens(*, prompt: int, result: int, calls: int) -> int:
    """Input tokens when the run is one inference: `p + n·r`, the prompt and every result once."""
    return prompt + calls * result
