"""`ETag`, `If-Match`, `If-None-Match`: the version of a thing as HTTP says it. Source: RFC 9110 §13; contract §4."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Depends, Header

from api.errors import PreconditionRequired
from runtime.errors import InvalidInput

# A proxy that compresses an answer makes its tag a weak one; the version that it names is the same.
_TAG: Final = re.compile(r'(?:W/)?"(\d{1,9})"|(\d{1,9})')


def etag(version: int) -> str:
    """The tag of a version."""
    return f'"{version}"'


def is_known(if_none_match: str | None, version: int) -> bool:
    """Whether the client has this version already."""
    if if_none_match is None:
        return False
    tags = [tag.strip() for tag in if_none_match.split(",")]
    return "*" in tags or version in [_version(tag) for tag in tags]


def _version(tag: str) -> int | None:
    found = _TAG.fullmatch(tag.strip())
    return None if found is None else int(found[1] or found[2])


def _seen(
    if_match: Annotated[
        str | None,
        Header(alias="If-Match", description='the version that you saw, as in `ETag`: `"3"`'),
    ] = None,
) -> int | None:
    if if_match is None:
        return None
    version = _version(if_match)
    if version is None:
        raise InvalidInput(
            f"If-Match {if_match!r}: expected the ETag of one version, such as '\"3\"'", param="If-Match"
        )
    return version


def _must_see(seen: Annotated[int | None, Depends(_seen)]) -> int:
    if seen is None:
        raise PreconditionRequired(
            "If-Match is missing: send the ETag of the version that you saw, so that no edit is lost", param="If-Match"
        )
    return seen


# The version that the caller saw; without it the call is refused, or is about whatever is current.
Seen = Annotated[int, Depends(_must_see)]
MaybeSeen = Annotated[int | None, Depends(_seen)]
IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", description="the ETag of what you have")]
