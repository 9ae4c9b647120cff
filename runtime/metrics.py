"""Every metric there is, in the text format of Prometheus. Names and labels are public (docs/operations.md).

Labels come from closed vocabularies (agents, statuses, purposes), so their number stays bounded. Source: ours.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

METRICS_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MODEL_SERVER_STATES: Final = (
    "external",
    "stopped",
    "installing",
    "converting",
    "starting",
    "ready",
    "restarting",
    "failed",
)


class Metrics:
    """Counters, histograms and gauges over one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.runs = Counter("mneme_runs", "Runs that ended", ["agent", "status"], registry=registry)
        self.llm_calls = Counter("mneme_llm_calls", "Model calls", ["purpose", "outcome"], registry=registry)
        self.llm_tokens = Counter("mneme_llm_tokens", "Tokens of model calls", ["purpose", "kind"], registry=registry)
        self.llm_seconds = Histogram(
            "mneme_llm_seconds",
            "Duration of a model call with its retries",
            ["purpose"],
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
            registry=registry,
        )
        self.working_memory_tokens = Counter(
            "mneme_working_memory_tokens",
            "Tokens that left working memory, moved up behind such a cut, or were read back",
            ["kind"],
            registry=registry,
        )
        self.working_memory_peak = Histogram(
            "mneme_working_memory_peak_tokens",
            "The most tokens that were live at once in a run that answered",
            buckets=(256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072),
            registry=registry,
        )
        self.append_seconds = Histogram(
            "mneme_event_append_seconds",
            "Duration of a commit to the event log",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
            registry=registry,
        )
        self.queue_depth = Gauge(
            "mneme_queue_depth",
            "Runs that wait for a process to take them",
            multiprocess_mode="mostrecent",
            registry=registry,
        )
        self._model_server = Gauge(
            "mneme_model_server_state",
            "1 for the state the model server is in",
            ["state"],
            multiprocess_mode="mostrecent",
            registry=registry,
        )

    def model_server(self, state: str) -> None:
        """Say which state the model server is in, one of `MODEL_SERVER_STATES`; `ValueError` for another."""
        if state not in MODEL_SERVER_STATES:
            known = ", ".join(MODEL_SERVER_STATES)
            raise ValueError(f"model server state {state!r}: expected one of {known}")
        for name in MODEL_SERVER_STATES:
            self._model_server.labels(name).set(1 if name == state else 0)

    def expose(self) -> bytes:
        """The text format of Prometheus (`METRICS_CONTENT_TYPE`), over all processes that share a socket."""
        together = CollectorRegistry()
        try:
            MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        except ValueError:  # No shared folder: this process is the only one.
            return generate_latest(self._registry)
        return generate_latest(together)


metrics: Final = Metrics(CollectorRegistry())
