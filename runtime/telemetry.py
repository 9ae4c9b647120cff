"""What the service says about itself: logs, metrics, traces.

Logs are JSON lines on stderr. Metrics (runtime/metrics.py) are counted here and given out when `/metrics` is
asked. Traces are OpenTelemetry spans after the GenAI semantic conventions (`gen_ai.*`) and go nowhere unless
`telemetry.otlp_endpoint` is set. No text of a prompt or an answer leaves through any of the three: spans and
metrics carry names and counts only, and the message of a foreign exception, which may quote what a model
wrote, is left out of tracebacks unless the log level is DEBUG.

Python's logging is one per process, so `configure` is called once, by the entry point, before the database and
agent modules are imported; without it nothing is sent and the log is structlog's plain one. Source: ours.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

import orjson
import structlog
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from runtime.errors import MnemeError, SettingsError
from runtime.metrics import metrics
from runtime.settings import Settings
from runtime.types import FinishReason, Usage

__all__ = ["LlmCallSpan", "configure", "flush_traces", "get_logger", "metrics", "span_llm_call", "span_run"]

# Switches by which a library would open a connection, or refuse to work, behind our settings.
FOREIGN_SWITCHES: Final = ("LANGCHAIN_TRACING", "LANGCHAIN_HANDLER", "DBOS__CLOUD", "DBOS__CONDUCTOR_KEY")
# These are asked before any other name of the same switch.
LANGSMITH_SWITCHES: Final = ("LANGSMITH_TRACING_V2", "LANGSMITH_TRACING")

EventDict = MutableMapping[str, Any]


# -- logs ----------------------------------------------------------------------------------------------------


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for `log.info("run.lost", run_id=…)`: an event name and fields, never a sentence with values."""
    return structlog.stdlib.get_logger(name)


def configure(settings: Settings) -> None:
    """Send logs to stderr as the settings say, switch off what libraries would send, trace if asked to.

    May be called again; the last call counts. Raises `SettingsError` when traces cannot be sent.
    """
    _silence_libraries()
    _tracing.use(_tracer_provider(settings))
    wanted = settings.telemetry
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Tracebacks(with_messages=wanted.log_level == "DEBUG"),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if wanted.log_format == "console"
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[_name_logger, *shared],
        )
    )
    root = logging.getLogger()
    for old in [h for h in root.handlers if getattr(h, "mneme", False)]:
        root.removeHandler(old)
    handler.mneme = True  # type: ignore[attr-defined]
    root.addHandler(handler)
    level = logging.getLevelNamesMapping()[wanted.log_level]
    # Libraries log requests and bodies below WARNING; ours and the HTTP server's life are what a reader wants.
    root.setLevel(max(level, logging.WARNING))
    for ours in ("agents", "api", "evals", "gpu", "memory", "runtime", "search", "uvicorn"):
        logging.getLogger(ours).setLevel(level)


class _Tracebacks:
    """Turns `exc_info` into a list of `file:line function` under the exception's type."""

    def __init__(self, *, with_messages: bool) -> None:
        self._with_messages = with_messages

    def __call__(self, logger: object, method: str, event: EventDict) -> EventDict:
        found = event.pop("exc_info", None)
        if found is True:
            found = sys.exc_info()[1]
        elif isinstance(found, tuple):
            found = found[1]
        if not isinstance(found, BaseException):
            return event
        chain: list[dict[str, Any]] = []
        error: BaseException | None = found
        while error is not None and len(chain) < 8:
            link: dict[str, Any] = {"type": type(error).__qualname__}
            # The messages of our own errors keep the rule; those of others may quote content.
            if self._with_messages or isinstance(error, MnemeError):
                link["message"] = str(error)
            link["frames"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
            ]
            chain.append(link)
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        event["exception"] = chain
        return event


def _name_logger(logger: object, method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event["logger"] = record.name
    return event


def _json(event: EventDict, **_: object) -> str:
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()


def _silence_libraries() -> None:
    # LangGraph traces to LangSmith when a variable says so; our settings are the only thing that may say so. Importing it to
    # tell it so takes half a second, so it is told only when it is there; it reads the variables once.
    for name in FOREIGN_SWITCHES:
        os.environ.pop(name, None)
    for name in LANGSMITH_SWITCHES:
        os.environ[name] = "false"
    if "langsmith" in sys.modules:
        from langsmith import configure as langsmith

        langsmith(enabled=False)


# -- traces --------------------------------------------------------------------------------------------------


class _Tracing:
    """The tracer in force. OpenTelemetry's global provider is left alone: any library may send through it."""

    def __init__(self) -> None:
        self.tracer: Tracer = trace.NoOpTracer()
        self.provider: TracerProvider | None = None

    def use(self, provider: TracerProvider | None) -> None:
        """Send through `provider` from here on; what the one before it still holds is sent first."""
        if self.provider is not None:
            self.provider.shutdown()
        self.provider = provider
        self.tracer = trace.NoOpTracer() if provider is None else provider.get_tracer("mneme")


_tracing: Final = _Tracing()


class LlmCallSpan:
    """One model call being made; `finish` is called when it was good."""

    def __init__(self, span: Span, purpose: str) -> None:
        self._span = span
        self._purpose = purpose
        self.outcome = "failed"

    def finish(
        self, usage: Usage, *, model: str, finish_reason: FinishReason, first_token_ms: float | None = None
    ) -> None:
        """Record what the call used and gave."""
        self.outcome = "ok"
        for kind, tokens in (
            ("prompt", usage.prompt_tokens),
            ("completion", usage.completion_tokens),
            ("cached", usage.cached_tokens),
            ("reasoning", usage.reasoning_tokens),
        ):
            metrics.llm_tokens.labels(self._purpose, kind).inc(tokens)
        self._span.set_attributes(
            {
                "gen_ai.response.model": model,
                "gen_ai.response.finish_reasons": [finish_reason],
                "gen_ai.usage.input_tokens": usage.prompt_tokens,
                "gen_ai.usage.output_tokens": usage.completion_tokens,
                "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
                "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
            }
        )
        if first_token_ms is not None:
            self._span.set_attribute("gen_ai.response.time_to_first_chunk", first_token_ms / 1000)


@contextmanager
def span_llm_call(purpose: str, model: str, run_id: str) -> Iterator[LlmCallSpan]:
    """Surround one model call with its retries. `model` is the reference, `backend/name`."""
    backend, _, name = model.partition("/")
    begun = time.monotonic()
    with _span(
        f"chat {name or model}",
        SpanKind.CLIENT,
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": backend,
            "gen_ai.request.model": name or model,
            "gen_ai.request.stream": True,
            "mneme.purpose": purpose,
            "mneme.run_id": run_id,
        },
    ) as span:
        call = LlmCallSpan(span, purpose)
        try:
            yield call
        finally:
            metrics.llm_calls.labels(purpose, call.outcome).inc()
            metrics.llm_seconds.labels(purpose).observe(time.monotonic() - begun)


@contextmanager
def span_run(agent: str, run_id: str) -> Iterator[Span]:
    """Surround one execution of a run; log lines written inside carry the run's id."""
    attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent, "mneme.run_id": run_id}
    with (
        structlog.contextvars.bound_contextvars(run_id=run_id),
        _span(f"invoke_agent {agent}", SpanKind.INTERNAL, attributes) as span,
    ):
        yield span


@contextmanager
def _span(name: str, kind: SpanKind, attributes: Mapping[str, str | bool]) -> Iterator[Span]:
    # OpenTelemetry would record the exception with its message; only the type may leave.
    with _tracing.tracer.start_as_current_span(
        name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except BaseException as error:
            kind_of_error = error.code if isinstance(error, MnemeError) else type(error).__qualname__
            span.set_attribute("error.type", kind_of_error)
            span.set_status(Status(StatusCode.ERROR))
            raise


def flush_traces() -> None:
    """Send what is still held back; does nothing when traces are off."""
    if _tracing.provider is not None:
        _tracing.provider.force_flush()


def _tracer_provider(settings: Settings) -> TracerProvider | None:
    endpoint = settings.telemetry.otlp_endpoint
    if endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise SettingsError(
            f"setting 'telemetry.otlp_endpoint' is {endpoint!r}, but the exporter is not installed; "
            "install the extra: pip install 'mneme[otlp]'"
        ) from error
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "mneme"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return provider
