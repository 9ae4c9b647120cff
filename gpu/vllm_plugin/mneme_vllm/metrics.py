"""What /metrics of vLLM says of the sessions. Source: ours."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

OPEN = Gauge("mneme_sessions_open", "Sessions that are known", multiprocess_mode="livesum")
BLOCKS = Gauge("mneme_session_blocks", "Blocks of the KV cache that sessions hold", multiprocess_mode="livesum")
TRUNCATED = Counter("mneme_session_truncated_tokens", "Tokens that sessions have cut off")
TIMED_OUT = Counter("mneme_sessions_timed_out", "Sessions that ended because nobody asked for long")
