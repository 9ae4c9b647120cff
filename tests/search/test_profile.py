"""The named sets of rules, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.budget import Budget as Limits
from runtime.errors import InvalidInput, UnknownName
from search.base import Budget, Evaluation, Made
from search.profile import EVIDENCE, PROFILES, PUBLISHED, ROBUST, Profile, profile


@pytest.mark.parametrize("name", ["published", "robust", "evidence"])
def test_a_profile_is_found_by_name_and_survives_json(name: str) -> None:
    found = profile(name)
    assert found is PROFILES[name]
    assert Profile.from_json(found.to_json()) == found


def test_the_constants_are_those_of_the_sheet() -> None:
    for rules in (PUBLISHED, ROBUST):
        assert (rules.alpha, rules.gamma, rules.c, rules.k, rules.eps) == (0.9, 0.1, 1.4, 2, 1e-5)
    assert (PUBLISHED.z, ROBUST.z) == (10.0, 1.0)
    assert EVIDENCE.expansions == ("child", "fresh", "merge")


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="'best' does not exist; there are published, robust, evidence"):
        profile("best")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"alpha": 1.5}, "alpha"),
        ({"gamma": -0.1}, "gamma"),
        ({"k": 0}, "k"),
        ({"z": float("nan")}, "z"),
        ({"prior_sd": 0.0}, "prior_sd"),
        ({"stop_at": 1.5}, "stop_at"),
        ({"expansions": ("merge",)}, "expansions"),
    ],
)
def test_rules_that_cannot_be_followed_are_refused(change: dict[str, object], name: str) -> None:
    with pytest.raises(InvalidInput, match=name):
        replace(ROBUST, **change)  # type: ignore[arg-type]


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidInput, match="rollouts"):
        Budget(-1)
    with pytest.raises(InvalidInput, match="calls"):
        Budget(1, Limits(calls=0))
    with pytest.raises(InvalidInput, match="objective"):
        Made("a", objective=1.5)
    with pytest.raises(InvalidInput, match="finite"):
        Evaluation(float("nan"), 5.0)
