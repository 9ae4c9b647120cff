"""Who acts on the store: the user of the credential, in the context that the caller names.

A context (an agent, an app, a session label) can only narrow: a grant that is bound to one fits nobody else, and no grant
gives more because a context was named that its owner did not write down. Source: memos §3.10; contract §4.
"""

# Annotations are evaluated where they stand: that of `identity` below names an argument of the function around it.
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Depends, Header, Request

from api.auth import need, service_of
from memory.service import Memory
from memory.types import Actor
from runtime.errors import InvalidInput
from runtime.keys import Identity, Scope

CONTEXT: Final = "X-Mneme-Context"
MAX_CONTEXT: Final = 200


def acting(scope: Scope) -> Callable[..., Awaitable[Actor]]:
    """A dependency: the caller as an actor; its key must have `scope`."""

    async def dependency(
        identity: Annotated[Identity, Depends(need(scope))],
        context: Annotated[
            str | None,
            Header(alias=CONTEXT, description="the agent, app or session that acts; grants may be bound to one"),
        ] = None,
    ) -> Actor:
        return actor_of(identity, context)

    return dependency


def actor_of(identity: Identity, context: str | None) -> Actor:
    """The holder of the credential, in that context. Raises `InvalidInput` for one that is no name."""
    if context is not None and not (0 < len(context) <= MAX_CONTEXT and context.isprintable()):
        raise InvalidInput(f"{CONTEXT}: expected 1 to {MAX_CONTEXT} printable characters", param=CONTEXT)
    return Actor(identity.user_id, context, identity.may("admin"))


def memory_of(request: Request) -> Memory:
    """The store of the application."""
    memory: Memory = service_of(request).memory
    return memory


ReadsMemory = Annotated[Actor, Depends(acting("read"))]
WritesMemory = Annotated[Actor, Depends(acting("run"))]
TheMemory = Annotated[Memory, Depends(memory_of)]
