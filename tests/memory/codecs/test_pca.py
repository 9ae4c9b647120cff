from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from memory.codecs import pca
from memory.codecs.base import Vectors, unit
from memory.codecs.integers import Int8
from memory.codecs.registry import make, restore
from runtime.errors import InvalidInput

DIGEST = """
import hashlib, sys
import numpy as np
from memory.codecs.registry import make
corpus = np.load(sys.argv[1])
codec = make("pca50_f8", 384, corpus)
print(hashlib.sha256(codec.params() + codec.encode(corpus).tobytes()).hexdigest())
"""


def corpus(count: int = 3000, dim: int = 64) -> Vectors:
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(40, dim))
    noise = 0.5 * rng.normal(size=(count, dim))
    return unit((centres[rng.integers(0, 40, count)] + noise).astype(np.float32))


def test_the_axes_of_six_points() -> None:
    points = np.array([(2, 0), (0, 2), (-2, 0), (0, -2), (4, 4), (-4, -4)], np.float64)
    axes = pca.axes_of(points)
    np.testing.assert_allclose(axes.mean, 0, atol=1e-12)
    np.testing.assert_allclose((axes.components.T * axes.variance) @ axes.components, [[8, 6.4], [6.4, 8]])
    np.testing.assert_allclose(axes.variance, [14.4, 1.6])
    np.testing.assert_allclose(axes.components[0], np.ones(2) / np.sqrt(2))
    assert axes.variance[0] / axes.variance.sum() == pytest.approx(0.9)


def test_a_basis_is_orthonormal_and_its_largest_components_are_positive() -> None:
    basis = pca.fit(corpus(), 0.5)
    assert basis.components.shape == (32, 64)
    np.testing.assert_allclose(basis.components @ basis.components.T, np.eye(32), atol=1e-4)
    largest = np.abs(basis.components).argmax(axis=1)
    assert (basis.components[np.arange(32), largest] > 0).all()
    assert (np.diff(basis.explained) <= 0).all()
    assert 0.5 < basis.explained.sum() <= 1


def test_all_directions_only_turn_the_vectors() -> None:
    vectors = corpus()
    basis = pca.fit(vectors, 1.0)
    turned = basis.project(vectors[:50])
    np.testing.assert_allclose(turned @ turned.T, vectors[:50] @ vectors[:50].T, atol=1e-3)


def test_centring_takes_the_mean_away_only_when_asked_to() -> None:
    vectors = corpus() + np.float32(0.3)
    assert not pca.fit(vectors, 0.5).mean.any()
    np.testing.assert_allclose(pca.fit(vectors, 0.5, centred=True).mean, vectors.mean(axis=0), atol=1e-4)


def test_ten_vectors_are_needed_for_each_direction() -> None:
    vectors = corpus(319)
    with pytest.raises(InvalidInput, match="319 vectors: too few for 32 directions; expected at least 320"):
        pca.fit(vectors, 0.5)
    assert pca.fit(corpus(320), 0.5).components.shape == (32, 64)


@pytest.mark.parametrize("keep", [0.0, 0.001, 1.5])
def test_a_share_that_keeps_nothing_or_too_much_is_refused(keep: float) -> None:
    with pytest.raises(InvalidInput, match="between 0 and 1"):
        pca.fit(corpus(), keep)


def test_a_sample_with_a_number_that_is_not_finite_is_refused() -> None:
    vectors = corpus()
    vectors[17, 3] = np.nan
    with pytest.raises(InvalidInput, match="not finite"):
        pca.fit(vectors, 0.5)


def test_a_large_sample_is_thinned_the_same_way_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pca, "LARGEST_SAMPLE", 1000)
    first, again, other = (pca.fit(corpus(), 0.5, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.components, again.components)
    assert not np.array_equal(first.components, other.components)


def test_other_kernels_of_the_matrix_library_give_the_same_params_and_bytes(tmp_path: Path) -> None:
    # As near to another machine as one machine comes: the library takes its code by the processor's name.
    np.save(tmp_path / "corpus.npy", corpus(2500, 384))
    command = [sys.executable, "-c", DIGEST, str(tmp_path / "corpus.npy")]
    digests = set()
    for core, threads in (("Prescott", "1"), ("Haswell", "2")):
        env = {**os.environ, "OPENBLAS_CORETYPE": core, "OPENBLAS_NUM_THREADS": threads}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        digests.add(done.stdout.strip())
    assert len(digests) == 1


def test_a_reduced_codec_survives_its_parameters() -> None:
    vectors = corpus()
    for name in ("pca50_f8", "pca25_int8_range", "pca75_int8", "pca50_binary"):
        codec = make(name, 64, vectors)
        again = restore(name, 64, codec.params())
        assert (again.dim, again.out_dim, again.bytes_per_vector) == (64, codec.out_dim, codec.bytes_per_vector)
        assert again.params() == codec.params()
        codes = codec.encode(vectors[:20])
        assert np.array_equal(codes, again.encode(vectors[:20]))
        query = codec.project(vectors[:1])[0]
        assert np.array_equal(codec.scores(query, codes), again.scores(query, codes))


def test_projecting_refuses_vectors_of_another_size() -> None:
    codec = pca.Reduced("pca50_int8", pca.fit(corpus(), 0.5), Int8(32))
    with pytest.raises(InvalidInput, match="rows of 64 numbers"):
        codec.encode(corpus(400, 32))
