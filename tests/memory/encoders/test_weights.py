from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from memory.encoders.base import EncoderUnavailable
from memory.encoders.tokens import load_tokenizer
from memory.encoders.weights import read_safetensors


def write(path: Path, header: object, body: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def test_it_reads_what_the_public_writer_writes(tmp_path: Path) -> None:
    tensors: dict[str, NDArray[Any]] = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array([1, 2], np.float16),
        "c": np.array([[7]], np.int64),
    }
    save_file(tensors, tmp_path / "w.safetensors", metadata={"made": "here"})
    found = read_safetensors(tmp_path / "w.safetensors")
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
        assert not found[name].flags.writeable


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (b"no json", b""),
        ({"a": {"dtype": "F8", "shape": [1], "data_offsets": [0, 1]}}, b"\0"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 4),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}, b"\0" * 4),
        ({"a": {"dtype": "F32"}}, b""),
        ({"a": 3}, b""),
        ([], b""),
    ],
)
def test_another_file_is_refused(tmp_path: Path, header: object, body: bytes) -> None:
    with pytest.raises(EncoderUnavailable, match="not a safetensors file"):
        read_safetensors(write(tmp_path / "w", header, body))


@pytest.mark.parametrize("content", [b"", b"abc", struct.pack("<Q", 2**60) + b"{}"])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(EncoderUnavailable, match="fetch them again"):
        read_safetensors(tmp_path / "w")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderUnavailable, match="cannot be read"):
        read_safetensors(tmp_path / "w")
    with pytest.raises(EncoderUnavailable, match="cannot be read"):
        load_tokenizer(tmp_path / "t.json", longest=None)


def test_a_tokenizer_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"model": "none"}')
    with pytest.raises(EncoderUnavailable, match="not a tokenizer file"):
        load_tokenizer(tmp_path / "t.json", longest=None)
