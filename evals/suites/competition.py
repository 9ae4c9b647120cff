"""Mathematics with one final answer: AIME, HMMT and the like, MATH-500, GSM8K. Source: evaluation sheet §2, §3.2."""

from __future__ import annotations

import re
from typing import Final

from pydantic import BaseModel

from evals.base import Answer, DataSet, Grader, Sample, Score, SuiteSpec
from evals.scorers import final_answer
from evals.suites.fields import NoOptions, id_of, meta_of, split_of, text
from runtime.errors import InvalidInput

META: Final = ("contest", "number", "year", "subject", "level", "problem_type", "answer_type")
# GSM8K as published: the worked solution, and behind this mark the answer.
MARK: Final = "####"


def samples(data: DataSet, problem: tuple[str, ...], answer: tuple[str, ...]) -> list[Sample]:
    """One sample for each record; the fields that hold problem and answer are the first of these that it has."""
    return [
        Sample(
            id_of(data, n),
            data.name,
            {"kind": "math", "problem": text(data, n, problem)},
            text(data, n, answer),
            split_of(data, n),
            meta_of(data, n, META),
        )
        for n in range(len(data.records))
    ]


class Aime:
    """AIME: an integer from 0 to 999."""

    spec = SuiteSpec(
        "aime",
        1,
        "American Invitational Mathematics Examination, 2024 and 2025: integers from 0 to 999.",
        ("aime2024", "aime2025"),
        NoOptions,
    )

    def samples(self, data: DataSet, options: BaseModel) -> list[Sample]:
        """See `Suite`."""
        read = samples(data, ("problem", "question"), ("answer",))
        for number, sample in enumerate(read, start=1):
            if re.fullmatch(r"0*[0-9]{1,3}", str(sample.gold)) is None:
                raise InvalidInput(
                    f"data set {data.name!r}, record {number}: answer {sample.gold!r}; expected an integer from 0 to 999",
                    param="data",
                )
        return read

    async def score(self, sample: Sample, answer: Answer, grader: Grader) -> Score:
        """See `Suite`."""
        return final_answer.integer(answer.text, int(str(sample.gold)))


class Expressions:
    """Base of the suites whose answers are expressions."""

    spec: SuiteSpec

    def samples(self, data: DataSet, options: BaseModel) -> list[Sample]:
        """See `Suite`."""
        return samples(data, ("problem", "question"), ("answer",))

    async def score(self, sample: Sample, answer: Answer, grader: Grader) -> Score:
        """See `Suite`."""
        return await final_answer.expression(answer.text, str(sample.gold), grader)


class Hmmt(Expressions):
    """HMMT and contests like it."""

    spec = SuiteSpec(
        "hmmt",
        1,
        "HMMT February 2024 and contests like it (cmimc_2024, hmmt_feb_2025, …): LaTeX answers.",
        ("hmmt_feb_2024",),
        NoOptions,
    )


class Math500(Expressions):
    """MATH-500."""

    spec = SuiteSpec(
        "math500", 1, "500 problems of the MATH test set, five levels: LaTeX answers.", ("math500",), NoOptions
    )


class Gsm8k(Expressions):
    """GSM8K."""

    spec = SuiteSpec("gsm8k", 1, "Grade-school word problems: whole numbers.", ("gsm8k",), NoOptions)

    def samples(self, data: DataSet, options: BaseModel) -> list[Sample]:
        """See `Suite`."""
        records = tuple({**r, "answer": str(r.get("answer", "")).rpartition(MARK)[2].strip()} for r in data.records)
        plain = DataSet(data.name, data.source, data.licence, data.split, records)
        return samples(plain, ("question", "problem"), ("answer",))
