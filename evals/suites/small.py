"""Tasks for models of a few hundred million parameters: recall of facts, one-step equations, sums of two digits.

Most published suites are at the floor for such models and test the plumbing only. On these a difference can be seen within
minutes: the fact that is needed is in the prompt, in the store, or nowhere; and equations and sums carry a check that an
answer can be put into, so a search may verify without knowing the gold answer. Each sample carries its chance level, because
several of these tasks look like skill and are guessing. Source: evaluation sheet §4; README of the small-model tasks.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated, Any, Final, Literal, cast, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from evals.base import Answer, DataSet, Grader, Sample, Score, SuiteSpec
from evals.scorers import final_answer
from evals.scorers.token import token
from evals.suites.fields import id_of, split_of, text
from memory.types import Draft, Source
from runtime.errors import InvalidInput

Task = Literal["fact_recall", "equations", "sums"]
TASKS: Final[tuple[Task, ...]] = get_args(Task)
# The digits of a sum; 0 is no task.
DIGITS: Final = range(1, 10)


def _one_or_more(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


class SmallOptions(BaseModel):
    """`tasks`: which of the three; `facts`: how many of the 20 facts stand in the prompt of fact_recall, the relevant one
    among them. With 0 only memory can know it: a warm store holds all 20."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tasks: Annotated[tuple[Task, ...], BeforeValidator(_one_or_more), Field(min_length=1)] = TASKS
    facts: int = Field(0, ge=0, le=20)


class Small:
    """The three tasks; the data set decides which one a record is."""

    spec = SuiteSpec(
        "small",
        1,
        "Fact recall, linear equations and one-digit sums, sized for models of 135 to 500 million parameters.",
        TASKS,
        SmallOptions,
    )

    def samples(self, data: DataSet, options: BaseModel) -> list[Sample]:
        """See `Suite`; none for a task that `options.tasks` leaves out."""
        assert isinstance(options, SmallOptions)
        kind = _kind(data)
        if kind not in options.tasks:
            return []
        if kind == "fact_recall":
            return _recall(data, options.facts)
        return _equations(data) if kind == "equations" else _sums(data)

    async def score(self, sample: Sample, answer: Answer, grader: Grader) -> Score:
        """See `Suite`. Numbers are found leniently: these models rarely keep to a format."""
        gold = str(sample.gold)
        return token(answer.text, gold) if sample.task["kind"] == "qa" else final_answer.number(answer.text, gold)


def sums() -> list[dict[str, Any]]:
    """Every sum of two digits from 1 to 9, in an order in which neither digit grows steadily."""
    pairs = [(a, b) for a in DIGITS for b in DIGITS]
    # 25 and 81 have no common divisor, so every pair comes once; a limit then takes sums of all sizes.
    return [{"id": f"sum-{a}-{b}", "terms": [a, b]} for a, b in (pairs[25 * n % len(pairs)] for n in range(len(pairs)))]


def _kind(data: DataSet) -> Task:
    first = data.records[0] if data.records else {}
    for field, kind in (("facts", "fact_recall"), ("check", "equations"), ("terms", "sums")):
        if field in first:
            return kind  # type: ignore[return-value]
    raise InvalidInput(
        f"data set {data.name!r}: expected records of fact_recall (`facts`), equations (`check`) or sums (`terms`)",
        param="data",
    )


def _recall(data: DataSet, shown: int) -> list[Sample]:
    values: dict[str, set[str]] = defaultdict(set)
    for number in range(len(data.records)):
        values[text(data, number, ("attribute",))].add(text(data, number, ("answer",)))
    read = []
    for number, record in enumerate(data.records):
        facts, relevant = record.get("facts"), record.get("relevant")
        if not isinstance(facts, list) or not isinstance(relevant, int) or not 0 <= relevant < len(facts):
            raise InvalidInput(
                f"data set {data.name!r}, record {number + 1}: expected `facts` and the place of the `relevant` one",
                param="data",
            )
        texts, id_ = [str(fact) for fact in facts], id_of(data, number)
        others = [place for place in range(len(texts)) if place != relevant][: max(0, shown - 1)]
        chosen = sorted([*others, relevant]) if shown else []
        attribute = text(data, number, ("attribute",))
        task = {
            "kind": "qa",
            "question": text(data, number, ("question",)),
            "documents": [texts[n] for n in chosen],
        }
        read.append(
            Sample(
                id_,
                data.name,
                task,  # type: ignore[arg-type]  # a list of texts is JSON
                text(data, number, ("answer",)),
                split_of(data, number),
                {"attribute": attribute},
                tuple(Draft(fact, sources=(Source("document", uri=f"{data.name}/{id_}"),)) for fact in texts),
                1 / len(chosen) if chosen else 1 / len(values[attribute]),
            )
        )
    return read


def _equations(data: DataSet) -> list[Sample]:
    chance = _chance([text(data, n, ("answer",)) for n in range(len(data.records))])
    read = []
    for number, record in enumerate(data.records):
        check: Any = record.get("check")
        try:
            equation = f"{int(check['a'])}*x {check['op']} {int(check['b'])} = {int(check['c'])}"
        except (TypeError, KeyError, ValueError) as error:
            raise InvalidInput(
                f"data set {data.name!r}, record {number + 1}: check {check!r}; expected a, op, b and c", param="data"
            ) from error
        task = {
            "kind": "math",
            "problem": text(data, number, ("question",)),
            "check": {"equations": [equation], "variable": "x"},
        }
        gold = text(data, number, ("answer",))
        read.append(
            Sample(id_of(data, number), data.name, task, gold, split_of(data, number), chance=chance)  # type: ignore[arg-type]
        )
    return read


def _sums(data: DataSet) -> list[Sample]:
    read = []
    golds: list[str] = []
    for number, record in enumerate(data.records):
        terms: Any = record.get("terms")
        if not (isinstance(terms, list) and len(terms) == 2 and all(isinstance(term, int) for term in terms)):
            raise InvalidInput(
                f"data set {data.name!r}, record {number + 1}: terms {terms!r}; expected two whole numbers",
                param="data",
            )
        golds.append(str(sum(terms)))
    chance = _chance(golds)
    for number, (record, gold) in enumerate(zip(data.records, golds, strict=True)):
        a, b = cast(list[int], record["terms"])
        check = {"equations": [f"x = {a} + {b}"], "variable": "x"}
        task = {"kind": "math", "problem": f"What is {a} + {b}?", "check": check}
        read.append(
            Sample(id_of(data, number), data.name, task, gold, split_of(data, number), chance=chance)  # type: ignore[arg-type]
        )
    return read


def _chance(golds: list[str]) -> float:
    """A blind guess at a whole number in the range of the answers."""
    numbers = [int(gold) for gold in golds]
    return 1 / (max(numbers) - min(numbers) + 1)
