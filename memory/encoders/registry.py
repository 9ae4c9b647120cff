"""The encoder that the settings name.

Known names are packaged weights (`minilm-l6`, `wordllama-256`) and `hashing-<dimensions>`; with `embed.base_url` any
name is a model of that server. Weights that are absent are an error with the command that fetches them: a quiet fall
back to another encoder would fill the store with vectors that have to be made again. Source: memos §3.12; ours.
"""

from __future__ import annotations

import hashlib
import re
from functools import partial

import anyio

from memory.encoders.base import Encoder, Profile
from memory.encoders.hashing import Hashing
from memory.encoders.http import PROBE, Endpoint, HttpEncoder
from memory.encoders.minilm import MiniLM
from memory.encoders.packaged import PACKAGED, weights_folder
from memory.encoders.static import StaticTable
from runtime.errors import SettingsError, UnknownName
from runtime.retry import RetryPolicy
from runtime.settings import EmbedSettings, Settings

UNSAFE = re.compile(r"[^\w.-]+", re.ASCII)
HASHING = re.compile(r"hashing-([1-9]\d{1,3})")


def needed_weights(settings: Settings) -> str | None:
    """The packaged weights that the settings ask for; None when they ask for a server or for none."""
    embed = settings.embed
    return embed.model if embed.base_url is None and embed.model in PACKAGED else None


async def open_encoder(settings: Settings) -> Encoder:
    """The encoder of `embed.*`, loaded, its profile known; a server without `embed.dim` is asked for one vector.

    Raises `UnknownName`, `EncoderUnavailable`, `SettingsError` when `embed.dim` is not what the encoder gives, and
    `ModelError` when the server has to be asked and does not answer.
    """
    embed = settings.embed
    if embed.base_url is not None:
        return await _server(embed, embed.base_url, settings)
    encoder = await _local(settings)
    if embed.dim is not None and embed.dim != encoder.profile.dim:
        raise SettingsError(
            f"embed.dim {embed.dim}: encoder {embed.model!r} gives {encoder.profile.dim} dimensions; take embed.dim away"
        )
    return encoder


def settings_of(settings: Settings, space: Profile) -> Settings:
    """The settings under which `open_encoder` gives the encoder of `space`. Raises `SettingsError` for the space of a
    server when no server is set."""
    ours = space.provider != "http"
    if not ours and settings.embed.base_url is None:
        raise SettingsError(
            f"embed.base_url: not set, but the store's vectors are of {space.model!r} on a server; set it to a server "
            "that has this model, or run `mneme memory reembed`"
        )
    embed = settings.embed.model_copy(
        update={
            "model": space.slug if ours else space.model,
            "base_url": None if ours else settings.embed.base_url,
            "dim": space.dim,
            "prefix_doc": space.prefix_doc,
            "prefix_query": space.prefix_query,
        }
    )
    return settings.model_copy(update={"embed": embed})


async def open_space(settings: Settings, space: Profile) -> Encoder:
    """The encoder that made the vectors of `space`, which need not be the configured one: the store may be on its way
    from one to the other. Raises as `open_encoder` and `settings_of` do, `SettingsError` when it gives another space."""
    encoder = await open_encoder(settings_of(settings, space))
    if encoder.profile != space:
        await encoder.aclose()
        raise SettingsError(
            f"encoder {space.slug!r}: gives {encoder.profile}, the store's vectors are of {space}; use the weights that "
            "were used before, or run `mneme memory reembed`"
        )
    return encoder


async def _local(settings: Settings) -> Encoder:
    embed = settings.embed
    hashing = HASHING.fullmatch(embed.model)
    if hashing is not None:
        return Hashing(int(hashing[1]))
    if embed.model not in PACKAGED:
        known = ", ".join((*PACKAGED, "hashing-384"))
        raise UnknownName(
            f"embed.model {embed.model!r}: no such encoder; expected one of {known}, or set embed.base_url to the "
            "server that has it",
            param="embed.model",
        )
    folder = weights_folder(settings.home, embed.model)
    revision = PACKAGED[embed.model].revision
    kind = MiniLM if embed.model == "minilm-l6" else StaticTable
    load = partial(kind, folder, revision=revision, batch_size=embed.batch_size, threads=embed.threads)
    return await anyio.to_thread.run_sync(load)


async def _server(embed: EmbedSettings, base_url: str, settings: Settings) -> Encoder:
    endpoint = Endpoint(
        base_url,
        embed.model,
        api_key=embed.api_key.get_secret_value() if embed.api_key else None,
        retry=RetryPolicy.of(settings.llm),
        timeout_s=embed.timeout_s,
        connect_timeout_s=settings.llm.connect_timeout_s,
        batch_size=embed.batch_size,
    )
    dim = embed.dim
    if dim is None:
        try:
            dim = int((await endpoint.vectors([PROBE])).shape[1])
        except BaseException:
            await endpoint.aclose()
            raise
    return HttpEncoder(endpoint, _profile(embed, dim))


def _profile(embed: EmbedSettings, dim: int) -> Profile:
    """The slug, which is a folder's name too, carries everything that makes another space."""
    digest = hashlib.sha256("\0".join((embed.model, embed.prefix_doc, embed.prefix_query)).encode()).hexdigest()
    return Profile(
        slug=f"{UNSAFE.sub('-', embed.model)[:50]}-{dim}-{digest[:8]}",
        provider="http",
        model=embed.model,
        revision="",
        dim=dim,
        prefix_doc=embed.prefix_doc,
        prefix_query=embed.prefix_query,
    )
