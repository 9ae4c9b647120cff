"""LangGraph's filters over JSON values, and its conditions on namespaces. Pure.

A filter names fields of the value; each must equal what is given, or fulfil its operators. What cannot be compared does not
fulfil a comparison. Source: langgraph.store.base (`SearchOp.filter`, `MatchCondition`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langgraph.store.base import MatchCondition
from pydantic import JsonValue

from runtime.errors import InvalidInput

OPERATORS: Final = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")


class BadFilter(InvalidInput, ValueError):
    """The filter has no meaning. A `ValueError` too, which is what programs for LangGraph's own stores expect."""


def fits(value: Mapping[str, JsonValue], wanted: Mapping[str, Any] | None) -> bool:
    """Whether the value fulfils every condition of the filter. Raises `BadFilter` for an unknown operator."""
    return all(_fits(value.get(name), condition) for name, condition in (wanted or {}).items())


def check(wanted: Mapping[str, Any] | None) -> None:
    """Raise `BadFilter` for an operator that there is not, also when no value would be looked at."""
    for condition in (wanted or {}).values():
        if isinstance(condition, Mapping):
            if any(name.startswith("$") for name in condition):
                for name in condition:
                    if name not in OPERATORS:
                        raise BadFilter(
                            f"filter operator {name!r}: unknown; expected one of {', '.join(OPERATORS)}", param="filter"
                        )
            else:
                check(condition)


def matches(condition: MatchCondition, namespace: Sequence[str]) -> bool:
    """Whether the namespace begins or ends with the path of the condition; `*` stands for any one label."""
    path = condition.path
    if condition.match_type not in ("prefix", "suffix"):
        raise BadFilter(f"match type {condition.match_type!r}: expected 'prefix' or 'suffix'", param="match_conditions")
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))


def _fits(value: JsonValue, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        if any(name.startswith("$") for name in wanted):
            return all(_fulfils(value, name, operand) for name, operand in wanted.items())
        return isinstance(value, dict) and all(_fits(value.get(name), part) for name, part in wanted.items())
    if isinstance(wanted, list | tuple):
        return (
            isinstance(value, list)
            and len(value) == len(wanted)
            and all(_fits(mine, theirs) for mine, theirs in zip(value, wanted, strict=True))
        )
    return bool(value == wanted)


def _fulfils(value: JsonValue, operator: str, operand: Any) -> bool:
    if operator == "$eq":
        return bool(value == operand)
    if operator == "$ne":
        return bool(value != operand)
    order = _compared(value, operand)
    match operator:
        case "$gt":
            return order is not None and order > 0
        case "$gte":
            return order is not None and order >= 0
        case "$lt":
            return order is not None and order < 0
        case "$lte":
            return order is not None and order <= 0
    raise BadFilter(f"filter operator {operator!r}: unknown; expected one of {', '.join(OPERATORS)}", param="filter")


def _compared(value: JsonValue, operand: Any) -> int | None:
    """-1, 0 or 1; numbers as numbers, also those that stand in a text; other texts as texts; None: not comparable."""
    mine, theirs = _number(value), _number(operand)
    if mine is not None and theirs is not None:
        return (mine > theirs) - (mine < theirs)
    if isinstance(value, str) and isinstance(operand, str):
        return (value > operand) - (value < operand)
    return None


def _number(value: Any) -> float | None:
    if not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return None if number != number else number
