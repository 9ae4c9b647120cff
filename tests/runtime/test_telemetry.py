"""Logs, metrics and traces: what they say, and that no content and nothing unasked leaves."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import structlog
from langsmith.utils import tracing_is_enabled
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from runtime import telemetry
from runtime.errors import BudgetExhausted, ModelUnavailable
from runtime.metrics import MODEL_SERVER_STATES, Metrics
from runtime.settings import Settings, TelemetrySettings
from runtime.types import Usage

SECRET = "the patient is called Ada"


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    names = ["", "agents", "api", "evals", "gpu", "memory", "runtime", "search", "uvicorn"]
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root = logging.getLogger()
    for handler in [h for h in root.handlers if getattr(h, "mneme", False)]:
        root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


def configured(**telemetry_settings: Any) -> None:
    telemetry.configure(Settings(telemetry=TelemetrySettings(**telemetry_settings)))


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    out = capsys.readouterr()
    assert out.out == "", "logs belong on stderr"
    return [json.loads(line) for line in out.err.splitlines()]


def test_a_log_line_is_json_on_stderr_with_time_level_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configured()
    telemetry.get_logger("runtime.sweeper").info("run.lost", run_id="run_1")
    (line,) = lines(capsys)
    assert line["event"] == "run.lost"
    assert line["run_id"] == "run_1"
    assert line["level"] == "info"
    assert line["logger"] == "runtime.sweeper"
    assert line["timestamp"].endswith("Z")


def test_debug_lines_stay_away_at_info(capsys: pytest.CaptureFixture[str]) -> None:
    configured()
    telemetry.get_logger("runtime.x").debug("prompt", text=SECRET)
    assert lines(capsys) == []


def test_info_lines_of_libraries_stay_away_and_their_warnings_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    configured()
    logging.getLogger("openai").info("Request options: %s", SECRET)
    logging.getLogger("aiosqlite").warning("slow %s", "poll")
    (line,) = lines(capsys)
    assert line["event"] == "slow poll"
    assert line["logger"] == "aiosqlite"


def test_a_traceback_names_places_and_not_what_a_foreign_error_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    configured()
    log = telemetry.get_logger("agents.runner")
    try:
        try:
            raise ValueError(f"cannot read {SECRET!r}")
        except ValueError as error:
            raise ModelUnavailable("model server 'x': broke off") from error
    except ModelUnavailable as error:
        log.warning("run.failed", exc_info=error)
    (line,) = lines(capsys)
    ours, theirs = line["exception"]
    assert ours["message"] == "model server 'x': broke off"
    assert theirs["type"] == "ValueError"
    assert "message" not in theirs
    assert "test_telemetry.py" in theirs["frames"][0]
    assert SECRET not in json.dumps(line)


def test_at_debug_a_traceback_tells_everything(capsys: pytest.CaptureFixture[str]) -> None:
    configured(log_level="DEBUG")
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        telemetry.get_logger("agents.runner").warning("run.failed", exc_info=error)
    assert lines(capsys)[0]["exception"][0]["message"] == SECRET


def test_configuring_twice_writes_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    configured()
    configured()
    telemetry.get_logger("api.app").warning("once")
    assert len(lines(capsys)) == 1


def test_lines_inside_a_run_carry_its_id(capsys: pytest.CaptureFixture[str]) -> None:
    configured()
    with telemetry.span_run("direct", "run_7"):
        telemetry.get_logger("agents.runner").info("inside")
    telemetry.get_logger("agents.runner").info("outside")
    inside, outside = lines(capsys)
    assert inside["run_id"] == "run_7"
    assert "run_id" not in outside


@pytest.mark.parametrize("variable", ["LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"])
def test_a_tracing_variable_of_a_library_is_ignored(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "true")
    configured()
    assert tracing_is_enabled() is False


def test_switches_that_open_connections_are_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in telemetry.FOREIGN_SWITCHES:
        monkeypatch.setenv(name, "true")
    configured()
    assert not set(telemetry.FOREIGN_SWITCHES) & set(os.environ)


def _value(text: bytes, name: str, **labels: str) -> float:
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    raise AssertionError(f"{name} {labels} is not exposed")


def test_a_finished_model_call_is_counted_with_its_tokens() -> None:
    with telemetry.span_llm_call("test.finished", "openai/m", "run_1") as call:
        usage = Usage(prompt_tokens=7, completion_tokens=3, cached_tokens=2, reasoning_tokens=1)
        call.finish(usage, model="m", finish_reason="stop")
    text = telemetry.metrics.expose()
    assert _value(text, "mneme_llm_calls_total", purpose="test.finished", outcome="ok") == 1
    assert _value(text, "mneme_llm_tokens_total", purpose="test.finished", kind="prompt") == 7
    assert _value(text, "mneme_llm_tokens_total", purpose="test.finished", kind="cached") == 2
    assert _value(text, "mneme_llm_seconds_count", purpose="test.finished") == 1


def test_a_model_call_that_fails_is_counted_as_failed() -> None:
    with pytest.raises(ModelUnavailable), telemetry.span_llm_call("test.failed", "openai/m", "run_1"):
        raise ModelUnavailable("gone")
    text = telemetry.metrics.expose()
    assert _value(text, "mneme_llm_calls_total", purpose="test.failed", outcome="failed") == 1


def test_the_model_server_is_in_exactly_one_state() -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.model_server("starting")
    metrics.model_server("ready")
    text = metrics.expose()
    states = {s: _value(text, "mneme_model_server_state", state=s) for s in MODEL_SERVER_STATES}
    assert states == {s: float(s == "ready") for s in MODEL_SERVER_STATES}
    with pytest.raises(ValueError, match="expected one of"):
        metrics.model_server("asleep")


class _Collector:
    """An OTLP endpoint that keeps what it is sent."""

    def __init__(self) -> None:
        received = self.received = []  # type: list[bytes]
        arrived = self.arrived = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()
                arrived.set()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/v1/traces"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def collector() -> Iterator[_Collector]:
    collector = _Collector()
    yield collector
    configured()
    collector.close()


def test_spans_go_to_the_configured_endpoint_with_names_and_counts_only(collector: _Collector) -> None:
    configured(otlp_endpoint=collector.url)
    usage = Usage(prompt_tokens=5, completion_tokens=6)
    with telemetry.span_run("best-of-n", "run_9"):
        with telemetry.span_llm_call("best_of_n.answer", "vllm/Qwen/Qwen3-8B", "run_9") as call:
            call.finish(usage, model="Qwen/Qwen3-8B", finish_reason="stop", first_token_ms=12.5)
        with pytest.raises(ValueError, match="Ada"), telemetry.span_llm_call("eval.judge", "vllm/m", "run_9"):
            raise ValueError(SECRET)
    telemetry.flush_traces()
    assert collector.arrived.wait(10)
    sent = b"".join(collector.received)
    for expected in (b"chat Qwen/Qwen3-8B", b"invoke_agent best-of-n", b"mneme.purpose", b"gen_ai.usage.input_tokens"):
        assert expected in sent
    assert SECRET.encode() not in sent
    known = {v for k, v in vars(gen_ai_attributes).items() if k.startswith("GEN_AI_") and isinstance(v, str)}
    used = {word.split(b'"')[0].decode() for word in _names(sent)}
    assert used
    assert used <= known


def _names(sent: bytes) -> list[bytes]:
    # In protobuf a string stands behind its length, so every attribute name can be cut out whole.
    found = []
    at = sent.find(b"gen_ai.")
    while at != -1:
        found.append(sent[at : at + sent[at - 1]])
        at = sent.find(b"gen_ai.", at + 1)
    return found


def test_without_an_endpoint_no_span_is_recorded() -> None:
    configured()
    with telemetry.span_run("direct", "run_1") as span:
        assert not span.is_recording()


def test_the_end_of_a_run_by_budget_is_named_by_its_code(collector: _Collector) -> None:
    configured(otlp_endpoint=collector.url)
    with pytest.raises(BudgetExhausted), telemetry.span_run("direct", "run_1"):
        raise BudgetExhausted("tokens are used up", limit="tokens")
    telemetry.flush_traces()
    assert collector.arrived.wait(10)
    assert b"budget_exhausted" in b"".join(collector.received)
