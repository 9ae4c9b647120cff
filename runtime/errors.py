"""The error tree. Only `api/errors.py` knows status codes; everything else raises one of these.

    MnemeError                      every error that is ours; `.code` is stable, the message names thing, expectation, fix
    ├── InvalidInput                the caller's fault: `.param` names the field
    │   ├── UnknownName             an agent, model, run, vault, option or task kind that does not exist
    │   │   └── Gone                it did exist, and was deleted or has expired
    │   └── Conflict                the thing is in a state that does not allow it
    │       └── Stale               it was changed since the caller last saw it
    ├── SettingsError               configuration: a key, a value or a file
    ├── AuthError                   no credential, or a wrong one
    │   └── Forbidden               the credential is good but does not allow this
    ├── ModelError                  the model server boundary; `.retryable` says whether asking again may help
    │   ├── ModelUnavailable        not reachable, or it broke off
    │   ├── ModelRejected           it answered 4xx; never retried
    │   ├── ModelOverloaded         it answered 429 or 5xx
    │   └── MalformedReply          what it answered is not the protocol, or not the schema after the repair turns
    ├── ContextOverflow         the text that must stay in view alone does not fit the model's window
    ├── SandboxUnavailable      model-written code cannot be run here as safely as the settings ask
    ├── StorageError                the database boundary: locked, full, unreachable
    ├── RunStopped                  not a failure: the run ends for a reason outside the agent
    │   ├── RunCancelled            somebody asked for it
    │   ├── BudgetExhausted         tokens, calls or seconds are used up
    │   └── RunLost                 another process owns the run now; this one must stop without a word
    └── EngineError                 our own model-server process: cannot be installed, started or reached

`boundary()` turns what crosses a boundary into one of them, once. Source: ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class MnemeError(Exception):
    """Base of all of ours. `code` is a stable machine-readable word."""

    code = "internal_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(MnemeError):
    """The caller sent something that cannot be used; `param` is the dotted path of the field."""

    code = "invalid_input"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class UnknownName(InvalidInput):
    """Something was named that does not exist."""

    code = "not_found"


class Conflict(InvalidInput):
    """The thing exists, but its state does not allow what was asked."""

    code = "conflict"


class Gone(UnknownName):
    """What was named existed, and the caller may know that; it was deleted or has expired."""

    code = "gone"


class Stale(Conflict):
    """An edit of a version that is not the current one. `current` is the version that is."""

    code = "stale"

    def __init__(self, message: str, *, expected: int, current: int) -> None:
        super().__init__(message, param="version")
        self.expected = expected
        self.current = current


class SettingsError(MnemeError):
    """A setting is unknown, missing or of the wrong type; the message names its origin."""

    code = "invalid_settings"


class AuthError(MnemeError):
    """There is no credential, or it is not valid."""

    code = "invalid_api_key"


class Forbidden(AuthError):
    """The credential is valid but has no right to this."""

    code = "forbidden"


class ModelError(MnemeError):
    """The model server did not give what was asked for."""

    code = "model_error"
    retryable = False


class ModelUnavailable(ModelError):
    """The model server cannot be reached, timed out, or broke off in the middle of an answer."""

    code = "model_unavailable"
    retryable = True


class ModelRejected(ModelError):
    """The model server refused the request (4xx other than 429); asking again gives the same."""

    code = "model_rejected"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class ModelOverloaded(ModelError):
    """The model server answered 429 or 5xx; `retry_after_s` is its own wish, if it had one."""

    code = "model_overloaded"
    retryable = True

    def __init__(self, message: str, *, status: int, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class MalformedReply(ModelError):
    """The reply is not valid protocol, or not valid against its schema after the repair turns."""

    code = "malformed_reply"
    retryable = True


class ContextOverflow(MnemeError):
    """What must stay in view does not fit the model's window, whatever is taken out. Nothing that was made is lost."""

    code = "context_overflow"


class SandboxUnavailable(MnemeError):
    """Model-written code cannot be run: no level that the settings accept works here, or no worker can be started."""

    code = "sandbox_unavailable"


class StorageError(MnemeError):
    """The database refused: locked for too long, disk full, or unreachable. Nothing of the transaction is kept."""

    code = "storage_error"


class RunStopped(MnemeError):
    """The run ends for a reason outside the agent."""

    code = "run_stopped"


class RunCancelled(RunStopped):
    """Somebody asked for the run to stop."""

    code = "cancelled"


class BudgetExhausted(RunStopped):
    """The run's tokens, calls or seconds are used up; `limit` names which."""

    code = "budget_exhausted"

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class RunLost(RunStopped):
    """Another process has taken the run over; nothing more may be written by this one."""

    code = "run_lost"


class EngineError(MnemeError):
    """Our own model-server process cannot be installed, started or reached."""

    code = "engine_error"


@contextmanager
def boundary(what: str, into: type[MnemeError] = MnemeError) -> Iterator[None]:
    """Let our own errors pass and turn any other into `into`, naming `what` was being done.

    Cancellation and interpreter exits are not `Exception`s and pass untouched.
    """
    try:
        yield
    except MnemeError:
        raise
    except Exception as error:
        raise into(f"{what}: {type(error).__name__}: {error}") from error
