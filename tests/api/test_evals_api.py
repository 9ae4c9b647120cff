"""`/api/evals`: the reports of evaluations, to whom they belong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from api.routes.evals import EvalBody, EvalComparison, EvalList
from evals import log as logs
from evals.base import Sample
from evals.log import LogWriter
from evals.records import Header
from runtime.db import open_database
from runtime.ids import SYSTEM
from runtime.keys import KeyStore
from runtime.settings import Settings
from tests.api.conftest import Served, serving
from tests.evals.making import header, record

SAMPLES = [Sample(item, "one", {"kind": "math", "problem": "p"}, "1") for item in "ab"]


def kept(home: Path, head: Header, scores: tuple[float, ...]) -> str:
    folder = logs.create(home, head, SAMPLES)
    with LogWriter(folder) as log:
        for sample, score in zip(SAMPLES, scores, strict=False):
            log.add(record(sample.id, score))
    return head.id


async def user_id(settings: Settings, name: str) -> str:
    database = open_database(settings)
    try:
        return await KeyStore(database, SYSTEM).user_id(name)
    finally:
        await database.aclose()


class Evals:
    """A service with evaluations of two users."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.local = anyio.run(user_id, served.settings, "local")
        self.ann = anyio.run(user_id, served.settings, "ann")
        home = served.settings.home
        self.good = kept(home, header(2, id_=1, owner=self.local), (1.0, 1.0))
        self.bad = kept(home, header(2, id_=2, owner=self.local, control_of=self.good, control="without"), (0.0, 0.0))
        self.anns = kept(home, header(2, id_=3, owner=self.ann), (1.0,))

    def client(self, user: str, *scopes: str) -> httpx.Client:
        body = {"name": user, "user": user, "scopes": list(scopes)}
        key = self.served.http.post("/api/keys", json=body).json()["key"]
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.served.url, timeout=60, trust_env=False, headers=headers)


@pytest.fixture(scope="module")
def evals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evals]:
    with serving(tmp_path_factory.mktemp("served"), None) as served:
        yield Evals(served)


def get(client: httpx.Client, path: str, status: int = 200, **params: Any) -> Any:
    response = client.get(path, params=params)
    assert response.status_code == status, response.text
    return response.json()


def test_the_list_is_newest_first_in_pages_and_of_the_caller(evals: Evals) -> None:
    with evals.client("bob", "read") as bob:
        assert get(bob, "/api/evals") == {"items": [], "next": None}
    with evals.client("ann", "read") as ann:
        assert [row["id"] for row in get(ann, "/api/evals")["items"]] == [evals.anns]
    with evals.client("root", "admin") as admin:
        everything = get(admin, "/api/evals")
        EvalList.model_validate(everything)
        assert [row["id"] for row in everything["items"]] == [evals.anns, evals.bad, evals.good]
        page = get(admin, "/api/evals", limit=1)
        assert (page["items"][0]["id"], page["next"]) == (evals.anns, evals.anns)
        rest = get(admin, "/api/evals", limit=5, cursor=page["next"])
        assert ([row["id"] for row in rest["items"]], rest["next"]) == ([evals.bad, evals.good], None)
        assert get(admin, "/api/evals", status=400, cursor="x")["errors"][0]["param"] == "cursor"


def test_a_report_has_scores_cost_and_controls(evals: Evals) -> None:
    told = get(evals.served.http, f"/api/evals/{evals.good}")
    EvalBody.model_validate(told)
    assert told["scores"]["all"]["accuracy"] == 1.0
    assert told["cost"]["calls"] == 2
    assert told["lift"]["against"]["without"]["difference"]["mean"] == 1.0
    assert "no control with a placebo of equal length" in told["lift"]["sentence"]
    control = get(evals.served.http, f"/api/evals/{evals.bad}")
    assert (control["control_of"], control["control"]) == (evals.good, "without")


def test_an_evaluation_that_has_no_record_yet_is_shown(evals: Evals) -> None:
    empty = kept(evals.served.settings.home, header(2, id_=0, owner=evals.local), ())
    told = get(evals.served.http, f"/api/evals/{empty}")
    EvalBody.model_validate(told)
    assert (told["status"], told["scores"]["all"]) == ("incomplete", {"problems": 0})


def test_two_are_compared(evals: Evals) -> None:
    told = get(evals.served.http, "/api/evals/compare", a=evals.good, b=evals.bad)
    EvalComparison.model_validate(told)
    assert (told["problems"], told["difference"]) == (
        2,
        {"mean": 1.0, "low": 1.0, "high": 1.0, "differing": 2},
    )
    assert told["mcnemar"] == {"only_a": 2, "only_b": 0, "p": 0.5}
    assert "they differ on 2, which chance explains" in told["sentence"]


@pytest.mark.parametrize("id_", [f"evl_{9:032x}", "evl_0", "..", "%2e%2e%2fetc"])
def test_what_is_not_there_is_a_404(evals: Evals, id_: str) -> None:
    problem = get(evals.served.http, f"/api/evals/{id_}", status=404)
    assert problem["code"] == "not_found"


def test_what_belongs_to_somebody_else_is_as_unknown_as_what_never_was(evals: Evals) -> None:
    never = f"evl_{9:032x}"
    with evals.client("bob", "run") as bob:
        for path, params in (
            ("/api/evals/{}", {}),
            ("/api/evals/compare", {"a": "{}", "b": "{}"}),
            ("/api/evals/compare", {"a": evals.anns, "b": "{}"}),
        ):
            answers = [
                bob.get(path.format(id_), params={name: value.format(id_) for name, value in params.items()})
                for id_ in (evals.good, never)
            ]
            assert {answer.status_code for answer in answers} == {404}
            told = [answer.text.replace(evals.good, "X").replace(never, "X") for answer in answers]
            assert told[0] == told[1]


def test_a_comparison_takes_two(evals: Evals) -> None:
    assert get(evals.served.http, "/api/evals/compare", status=422, a=evals.good)["errors"][0]["param"] == "b"
    problem = get(evals.served.http, "/api/evals/compare", status=404, a=evals.good, b="nothing")
    assert problem["code"] == "not_found"
