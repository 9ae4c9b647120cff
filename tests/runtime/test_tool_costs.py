"""Input tokens of a run with tools, resent or in one run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.tool_costs import client_loop_tokens, in_run_tokens

sizes = st.integers(0, 2000)


def test_a8_the_example_of_the_sheet() -> None:
    assert client_loop_tokens(prompt=1000, generated=50, result=450, calls=30) == 263_500
    assert in_run_tokens(prompt=1000, result=450, calls=30) == 14_500


@given(prompt=sizes, generated=sizes, result=sizes, calls=st.integers(0, 40))
def test_the_formula_counts_what_a_loop_sends(prompt: int, generated: int, result: int, calls: int) -> None:
    sent, history = 0, prompt
    for _ in range(calls):
        sent += history
        history += generated + result
    sent += history
    assert client_loop_tokens(prompt=prompt, generated=generated, result=result, calls=calls) == sent
    assert in_run_tokens(prompt=prompt, result=result, calls=calls) == history - calls * generated
