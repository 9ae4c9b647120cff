"""Any server with the OpenAI protocol's `/embeddings`.

A reply is used only when it has one vector of the expected size for each text. What may pass is tried again by the one
retry policy. Source: OpenAI embeddings protocol; ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx2
import numpy as np
import orjson

from memory.encoders.base import Profile, Role, Vectors, unit_rows, well_formed
from runtime.errors import MalformedReply, ModelError, ModelOverloaded, ModelRejected, ModelUnavailable, SettingsError
from runtime.retry import RetryPolicy

PROBE = "size"


class Endpoint:
    """One model of one server, over one pool of connections."""

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None,
        retry: RetryPolicy,
        timeout_s: float,
        connect_timeout_s: float,
        batch_size: int,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.model = model
        self._retry = retry
        self._batch_size = batch_size
        self._client = httpx2.AsyncClient(
            headers={"User-Agent": "mneme"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            timeout=httpx2.Timeout(timeout_s, connect=connect_timeout_s),
            trust_env=False,
            transport=transport,
        )

    async def vectors(self, texts: Sequence[str]) -> Vectors:
        """As the server gives them, float32 (n, whatever it is), n ≥ 1. Raises `ModelError`."""
        parts = []
        for start in range(0, len(texts), self._batch_size):
            part = list(texts[start : start + self._batch_size])
            async for attempt in self._retry.attempts():
                with attempt:
                    parts.append(await self._ask(part))
        if len({part.shape[1] for part in parts}) > 1:
            raise MalformedReply(f"{self._where}: vectors of different sizes; see its log")
        return np.concatenate(parts)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @property
    def _where(self) -> str:
        return f"embedding server {self.base_url!r}, model {self.model!r}"

    async def _ask(self, texts: list[str]) -> Vectors:
        body = orjson.dumps({"model": self.model, "input": texts, "encoding_format": "float"})
        try:
            response = await self._client.post(
                f"{self.base_url}/embeddings", content=body, headers={"Content-Type": "application/json"}
            )
        except httpx2.HTTPError as error:
            raise ModelUnavailable(f"{self._where}: {type(error).__name__} {error}; is it running?") from error
        if not response.is_success:
            raise self._refusal(response)
        return self._read(response.content, len(texts))

    def _refusal(self, response: httpx2.Response) -> ModelError:
        status = response.status_code
        text = f"{self._where}: answered {status}: {response.text[:500]}"
        if status == 429 or status >= 500:
            return ModelOverloaded(text, status=status, retry_after_s=_retry_after(response.headers))
        return ModelRejected(text, status=status)

    def _read(self, content: bytes, count: int) -> Vectors:
        try:
            items = sorted(orjson.loads(content)["data"], key=_index)
            with np.errstate(over="ignore"):  # too large for a float32 is infinite, and refused below
                vectors = np.array([item["embedding"] for item in items], np.float64).astype(np.float32)
            in_place = [_index(item) for item in items] == list(range(count))
        except (ValueError, KeyError, TypeError) as error:
            raise MalformedReply(f"{self._where}: not a reply of the protocol: {content[:200]!r}") from error
        if not in_place or vectors.ndim != 2 or vectors.shape[1] == 0:
            raise MalformedReply(f"{self._where}: expected one vector for each of {count} texts; see its log")
        if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
            raise MalformedReply(f"{self._where}: a vector that is zero or not finite; see its log")
        return vectors


class HttpEncoder:
    """See `Encoder`."""

    def __init__(self, endpoint: Endpoint, profile: Profile) -> None:
        self._endpoint = endpoint
        self.profile = profile

    async def encode(self, texts: Sequence[str], *, role: Role) -> Vectors:
        """See `Encoder`. Raises `SettingsError` for vectors of another size than the profile's."""
        if not texts:
            return np.empty((0, self.profile.dim), np.float32)
        prefix = self.profile.prefix_query if role == "query" else self.profile.prefix_doc
        vectors = await self._endpoint.vectors([well_formed(prefix + text) for text in texts])
        if vectors.shape[1] != self.profile.dim:
            raise SettingsError(
                f"embedding server {self._endpoint.base_url!r}, model {self.profile.model!r}: its vectors have "
                f"{vectors.shape[1]} dimensions, expected {self.profile.dim}; set embed.dim to {vectors.shape[1]} "
                "and re-embed, or embed.model to the model that was used before"
            )
        return unit_rows(vectors)

    async def aclose(self) -> None:
        """See `Encoder`."""
        await self._endpoint.aclose()


def _index(item: Mapping[str, Any]) -> int:
    return int(item["index"])


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "")
    return float(value) if value.replace(".", "", 1).isdigit() else None
