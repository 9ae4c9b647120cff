"""What a database driver raises, in our words: what went wrong, that nothing was kept, what to do. Source: ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from runtime.errors import InvalidInput, StorageError

# Part of the driver's text, and what to tell whoever reads it; the first that is found counts.
REMEDIES = (
    (
        ("locked", "busy", "lock timeout"),
        "another process held the lock for too long; the transaction was not kept, try again",
    ),
    (
        ("idle-in-transaction",),
        "this process stood still in the middle of a transaction, and others had waited; it was not kept, try again",
    ),
    (
        ("is full", "no space", "disk full", "could not extend"),
        "the disk is full; the transaction was not kept, free some space and try again",
    ),
    (
        ("no such table", "no such column", "does not exist"),
        "the schema is not the one of this release; run `mneme db upgrade`",
    ),
    (
        ("unable to open", "readonly", "permission denied"),
        "expected a place where this user may write; check MNEME_HOME and DATABASE_URL",
    ),
    (
        ("not a database", "malformed"),
        "the file is damaged or is something else; put a backup in its place, or set MNEME_HOME to another folder",
    ),
    (
        ("connection", "connect ", "shutting down", "starting up"),
        "the server cannot be reached or hung up; check that it runs and that DATABASE_URL names it",
    ),
)


@contextmanager
def driver_errors() -> Iterator[None]:
    """Turn what the driver raises into `StorageError`, or `InvalidInput` for a value that no column can hold."""
    try:
        yield
    except PoolTimeout as error:
        raise StorageError(f"database: no free connection; raise MNEME_DATABASE__POOL_SIZE: {error}") from error
    except (DataError, UnicodeEncodeError, OverflowError) as error:
        cause = error.orig if isinstance(error, DataError) else error
        raise InvalidInput(
            f"the database cannot hold a value: {cause}; expected plain text and 64-bit numbers"
        ) from error
    except OperationalError as error:
        raise StorageError(f"database: {_with_remedy(str(error.orig))}") from error
    except DBAPIError as error:
        raise StorageError(f"database: {type(error.orig).__name__}: {_with_remedy(str(error.orig))}") from error
    except StatementError as error:
        # Not the driver but the conversion of a value in front of it.
        raise InvalidInput(f"the database cannot hold a value: {error.orig}; expected JSON") from error
    except OSError as error:
        raise StorageError(f"database: {_with_remedy(str(error))}") from error


def _with_remedy(text: str) -> str:
    text = " ".join(text.split("\nLINE ")[0].split())  # PostgreSQL adds an excerpt of the statement
    lowered = text.lower()
    return next((f"{text}: {fix}" for words, fix in REMEDIES if any(word in lowered for word in words)), text)
