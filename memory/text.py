"""What is the same text: normalised form, its hash, and a fingerprint whose distance tells near-duplicates. Pure.

Source: memos §2.2 (content_hash over NFKC, case and spaces; simhash); Charikar 2002 for the fingerprint.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

import numpy as np

WORDS = re.compile(r"\w+")
SHINGLE = 3
BITS = 64


def normalise(text: str) -> str:
    """Compatibility forms, case and runs of spaces folded."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def content_hash(text: str, kind: str = "") -> str:
    """SHA-256 (hex) of the normalised text; `kind` keeps a concept and a fact of the same words apart."""
    return hashlib.sha256(f"{kind}\n{normalise(text)}".encode(errors="surrogatepass")).hexdigest()


def simhash(text: str) -> int:
    """A signed 64-bit fingerprint over word triples; texts that share most of them differ in few bits."""
    words = WORDS.findall(normalise(text))
    shingles = {" ".join(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1))}
    digests = b"".join(hashlib.blake2b(s.encode(errors="surrogatepass"), digest_size=8).digest() for s in shingles)
    bits = np.unpackbits(np.frombuffer(digests, np.uint8).reshape(-1, 8), axis=1)
    majority = np.packbits(bits.sum(axis=0) * 2 > len(bits))
    return int.from_bytes(majority.tobytes(), "big", signed=True)


def distance(a: int, b: int) -> int:
    """Number of bits in which two fingerprints differ, 0 to 64."""
    return ((a ^ b) & (2**BITS - 1)).bit_count()
