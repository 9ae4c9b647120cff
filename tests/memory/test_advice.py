"""Advice on codecs: measured on the vectors of vaults that the caller may read, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from memory import advice, profiles
from memory.advice import Sample, advise
from memory.codecs.base import unit
from memory.core import Core
from memory.profiles import StoredProfile
from runtime.errors import InvalidInput, UnknownName
from tests.memory.conftest import ANN, BOB, vault_id
from tests.moving import Encoder, running, texts

pytestmark = pytest.mark.anyio


async def active(core: Core) -> StoredProfile:
    found = await core.db.read(profiles.active)
    assert found is not None
    return found


async def test_it_measures_on_the_callers_own_vectors_and_questions(core: Core) -> None:
    encoder = Encoder(32)
    async with running(core, encoder) as process:
        await process.add(ANN, await vault_id(core), *texts(230))
        await core.default_vault(BOB)
        await process.add(BOB, await vault_id(core, BOB), *texts(30, seed=4))
        sample = await advice.of_vaults(core, ANN, (), await active(core), encoder)
        assert (len(sample.vectors), sample.total, len(sample.questions)) == (230, 230, 200)
        best = np.argmax(sample.questions @ sample.vectors.T, axis=1)
        assert float((best == np.array(sample.wanted)).mean()) > 0.95
        with pytest.raises(InvalidInput, match="30 memories with a vector: too few"):
            await advice.of_vaults(core, BOB, (), await active(core), encoder)
        with pytest.raises(UnknownName):
            await advice.of_vaults(core, BOB, (await vault_id(core),), await active(core), encoder)


def sample(count: int, dim: int = 32) -> Sample:
    rng = np.random.default_rng(0)
    vectors = unit(rng.normal(size=(count, dim)).astype(np.float32))
    questions = unit(vectors[:200] + 0.1 * rng.normal(size=(200, dim)).astype(np.float32))
    return Sample(vectors, questions, list(range(200)), count)


def test_what_fits_the_limit_is_chosen_for_as_many_vectors_as_there_will_be() -> None:
    made = sample(240)
    free = advise(made, limit_bytes=None, least_quality=None)
    assert free.choice.chosen is not None
    assert free.choice.chosen.quality == max(item.recall for item in free.measured) == 1.0
    assert free.unfitted == ()
    tight = advise(made, limit_bytes=1_000_000 * 8, least_quality=None, vectors=1_000_000)
    assert tight.choice.chosen is not None
    assert tight.choice.chosen.bytes_per_vector <= 8
    assert advise(made, limit_bytes=240 * 4, least_quality=0.999).choice.chosen is None


def test_codecs_that_cannot_be_fitted_on_so_few_are_named_and_left_out() -> None:
    made = advise(sample(200), limit_bytes=None, least_quality=None)
    assert set(made.unfitted) == {"pca75_int8"}
    assert "pca75_int8" not in {item.codec for item in made.measured}
    assert "pca50_f8" in {item.codec for item in made.measured}
