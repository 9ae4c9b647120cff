"""Times as a person gives them in a form or an address: a day, or a time with or without a zone, which then is UTC.

Source: ours.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from runtime.errors import InvalidInput


def moment_of(text: str | None, param: str, *, ends: bool = False) -> datetime | None:
    """The time that `text` names, None for none; `ends`: a day means its last moment. Raises `InvalidInput`."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text.strip())
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        is_day = len(text.strip()) <= len("2027-01-31") and at.timetz() == time(tzinfo=UTC)
        return at + timedelta(days=1, microseconds=-1) if ends and is_day else at
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            f"{param} {text!r}: expected a time such as 2027-01-31 or 2027-01-31T09:00Z", param=param
        ) from error
