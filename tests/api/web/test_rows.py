"""The rows of a log and of the memories that a run touched."""

from __future__ import annotations

from typing import Any

from api.web.rows import first_rows, grouped, reads_of, writes_of


def event(seq: int, type_: str, step: str = "", **data: Any) -> dict[str, Any]:
    return {"seq": seq, "at": "2027-01-01T00:00:00", "type": type_, "step": step, "data": data}


def read(memory_id: str, shown: str, score: float, why: str = "") -> dict[str, Any]:
    return {"id": memory_id, "version": 2, "score": score, "why": why, "unit": "u", "shown": shown, "p": 0.8}


def test_a_part_of_a_log_ends_before_the_row_that_is_too_many() -> None:
    log = [
        event(1, "text.delta", "a", text="x"),
        event(2, "text.delta", "b", text="y"),
        event(3, "text.delta", "a", text="z"),
        event(4, "check.passed", "c", name="n"),
        event(5, "text.delta", "a", text="!"),
    ]
    rows, taken = first_rows(log, 2)
    assert (len(rows), taken) == (2, 3)
    assert rows[0].pieces == [(1, "x"), (3, "z")]
    assert first_rows(log)[1] == len(log)
    assert len(grouped(log)) == 3


def test_a_memory_that_was_read_often_is_one_row() -> None:
    events = [read("m1", "shown", 0.2, "first"), read("m2", "held_out", 0.9), read("m1", "held_out", 0.7, "later")]
    one, two = reads_of(events)
    assert one == {"id": "m1", "version": 2, "shown": 1, "held_out": 1, "score": 0.7, "why": "first"}
    assert (two["id"], two["shown"], two["held_out"]) == ("m2", 0, 1)


def test_what_was_done_to_a_memory_leads_to_its_newest_version() -> None:
    events = [{"id": "m", "version": version, "op": op} for version, op in ((1, "add"), (2, "edit"), (3, "edit"))]
    assert [(one["op"], one["times"], one["version"]) for one in writes_of(events)] == [("add", 1, 1), ("edit", 2, 3)]


def test_a_log_names_a_read_memory_shortly_and_says_when_it_was_held_out() -> None:
    (row,) = grouped(
        [event(1, "memory.read", **read("mem_01a215d7344775c58dd9a3b1546bd166", "held_out", 0.58468, "by meaning"))]
    )
    assert row.words == "mem_…6bd166, version 2 · score 0.585 · by meaning · held out"
