"""Loads the tokenizer file of a packaged encoder: no padding, texts cut at a number of tokens. Source: ours."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from memory.encoders.base import EncoderUnavailable
from runtime.errors import boundary


def load_tokenizer(path: Path, *, longest: int | None) -> Tokenizer:
    """The tokenizer of `path`; `longest` counts the special tokens in. Raises `EncoderUnavailable`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EncoderUnavailable(f"tokenizer {str(path)!r}: cannot be read ({error}); fetch it again") from error
    with boundary(f"tokenizer {str(path)!r}: not a tokenizer file; fetch it again", EncoderUnavailable):
        tokenizer = Tokenizer.from_str(text)
    tokenizer.no_padding()
    if longest is None:
        tokenizer.no_truncation()
    else:
        tokenizer.enable_truncation(longest)
    return tokenizer
