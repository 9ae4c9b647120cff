"""What is the same text: normalised form, its words, its hash, and a fingerprint whose distance tells near-duplicates.

Pure. Source: memos §2.2 (content_hash over NFKC, case and spaces; simhash); Charikar 2002 for the fingerprint.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

import numpy as np

from memory.indices.words import CJK

# Scripts without spaces: each sign counts as a word.
WORD = re.compile(rf"[{CJK}]|[^\W{CJK}]+(?:['’][^\W{CJK}]+)?")
SHINGLE = 3
BITS = 64


def normalise(text: str) -> str:
    """Compatibility forms, case and runs of spaces folded; doing it twice changes nothing more."""
    if not text.isascii():
        # Folding the case can take a text out of its normal form, and the other way round.
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.casefold()).casefold())
    return " ".join(text.casefold().split())


def words(text: str) -> list[str]:
    """The words of the normalised text, in order; `don't` is one, and so is each sign of Chinese or Japanese."""
    return [found.group() for found in WORD.finditer(normalise(text))]


def triples(text: str) -> frozenset[tuple[str, ...]]:
    """Every three words that follow each other; all of them, of a text with fewer; empty for one without a word."""
    told = words(text)
    if len(told) < SHINGLE:
        return frozenset({tuple(told)} if told else ())
    return frozenset(tuple(told[i : i + SHINGLE]) for i in range(len(told) - SHINGLE + 1))


def content_hash(text: str, kind: str = "") -> str:
    """SHA-256 (hex) of the normalised text; `kind` keeps a concept and a fact of the same words apart."""
    return hashlib.sha256(f"{kind}\n{normalise(text)}".encode(errors="surrogatepass")).hexdigest()


def simhash(text: str) -> int:
    """A signed 64-bit fingerprint over word triples; texts that share most of them differ in few bits."""
    shingles = {" ".join(three) for three in triples(text)} or {""}
    digests = b"".join(hashlib.blake2b(s.encode(errors="surrogatepass"), digest_size=8).digest() for s in shingles)
    bits = np.unpackbits(np.frombuffer(digests, np.uint8).reshape(-1, 8), axis=1)
    majority = np.packbits(bits.sum(axis=0) * 2 > len(bits))
    return int.from_bytes(bytes(majority), "big", signed=True)


def distance(a: int, b: int) -> int:
    """Number of bits in which two fingerprints differ, 0 to 64."""
    return ((a ^ b) & ((1 << BITS) - 1)).bit_count()
