"""Cuts a byte stream into the data of its server-sent events. Source: WHATWG HTML §9.2.6."""

from __future__ import annotations

from collections.abc import Iterator


class SSEReader:
    """Feed it bytes as they come; it gives back the `data` of each event that is complete.

    Event names, ids and comments are left out: the OpenAI protocol has no use for them.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Yield the data of the events that `received` completes."""
        lines = (self._rest + received).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line.endswith(b"\r"):
                line = line[:-1]
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line and self._data:
                yield self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                self._data = []

    def finish(self) -> Iterator[bytes]:
        """Yield what stands unfinished at the end of the stream: many servers leave the last blank line out."""
        yield from self.feed(b"\n\n")
