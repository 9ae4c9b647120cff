"""The environment that child processes get: a short list of what they need, so that no secret of the service leaks.

The database URL, API keys and every MNEME_ variable stay behind. What a program downloads with (proxies, certificate
bundles, a Hugging Face token) goes only to the children that download. Source: ours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_PLAIN = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD"}
)
_PLAIN_PREFIXES = ("LC_", "XDG_", "CUDA_", "NVIDIA_", "NCCL_", "OMP_", "KMP_", "MKL_", "TORCH_", "TRITON_")
_NETWORK = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"}
    | {"CURL_CA_BUNDLE"}
)
_HUB_PREFIXES = ("HF_", "HUGGINGFACE_")


def plain(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What any program needs. `environ` defaults to our own environment, which is passed on, never interpreted."""
    source = os.environ if environ is None else environ
    return {name: value for name, value in source.items() if name in _PLAIN or name.startswith(_PLAIN_PREFIXES)}


def for_pip(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """`plain` with what pip is configured by: PIP_ variables, proxies, certificates."""
    source = os.environ if environ is None else environ
    return plain(source) | {
        name: value for name, value in source.items() if name.startswith("PIP_") or name.upper() in _NETWORK
    }


def for_hub(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """`plain` with what a download from the Hugging Face Hub needs, its token included."""
    source = os.environ if environ is None else environ
    return plain(source) | {
        name: value for name, value in source.items() if name.startswith(_HUB_PREFIXES) or name.upper() in _NETWORK
    }


def for_local_model(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """`plain`, and the Hub is never asked."""
    return plain(environ) | {"HF_HUB_OFFLINE": "1"}
