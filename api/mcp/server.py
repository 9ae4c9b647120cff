"""The MCP server over the tools: what it says of them, and what becomes of a call.

A fault of the caller, of the model server or of the store is a tool error with our code and message, so that the model can
do better; only an unknown tool is an error of the protocol. A fault of ours says no more than that. Source: MCP 2025-11-25
and 2026-07-28, tools; contract §4.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final

import orjson
from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Tool as Described
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from api.errors import PreconditionFailed
from api.mcp.asking import RunFailedHere
from api.mcp.calling import Call, Caller, Tool
from api.mcp.tools import INSTRUCTIONS, TOOLS
from api.route import read_json
from runtime.errors import Forbidden, InvalidInput, MnemeError, boundary
from runtime.telemetry import get_logger

NAME: Final = "mneme"
BY_NAME: Final[Mapping[str, Tool]] = {tool.name: tool for tool in TOOLS}
TOLD_FAULTS: Final = 5
Context = ServerRequestContext[Any, Any]
Who = Callable[[Context], Caller]

log = get_logger(__name__)


def build(who: Who) -> Server[Any]:
    """A server whose callers are the ones that `who` says."""
    listed = [_described(tool) for tool in TOOLS]
    schemas = {tool.name: tool.input_schema for tool in listed}

    async def list_tools(context: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=listed)

    async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
        tool = BY_NAME.get(params.name)
        if tool is None:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name!r}; expected one of {', '.join(BY_NAME)}")

        async def report(done: float, message: str) -> None:
            await context.session.report_progress(done, message=message)

        try:
            with boundary(f"MCP tool {tool.name!r}"):
                caller = who(context)
                if not caller.identity.may(tool.scope):
                    raise Forbidden(
                        f"this API key lacks the scope {tool.scope!r}; it has {sorted(caller.identity.scopes)}"
                    )
                given = read(tool, params.arguments or {})
                return _result(await tool.run(Call(caller, report), given))
        except MnemeError as error:
            return _failed(tool, error)

    return Server(
        NAME,
        version=version("mneme"),
        title="Mneme",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        get_tool_input_schema=schemas.get,
    )


def read(tool: Tool, given: Mapping[str, Any]) -> BaseModel:
    """The arguments of a call. Raises `InvalidInput` naming each that is wrong, `UnknownName` for what is no id."""
    try:
        # As strict as a body over HTTP: no NaN, no endless nesting.
        read_json(json.dumps(given, allow_nan=False).encode())
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"arguments: {error}; expected JSON", param="arguments") from error
    try:
        return tool.takes.model_validate(given)
    except ValidationError as error:
        faults = [_fault(item) for item in error.errors()]
        told = "; ".join(f"{name}: {text}" for name, text in faults[:TOLD_FAULTS])
        raise InvalidInput(
            f"{told}; {tool.name} takes {sorted(tool.takes.model_fields)}", param=faults[0][0]
        ) from error


def _fault(item: Any) -> tuple[str, str]:
    name = ".".join(str(part) for part in item["loc"]) or "arguments"
    if item["type"] == "extra_forbidden":
        return name, "unknown argument; remove it, or check its spelling"
    return name, str(item["msg"])


def _result(body: dict[str, Any], *, failed: bool = False) -> CallToolResult:
    try:
        text = orjson.dumps(body).decode()
    except TypeError:
        # A model may write half of a surrogate pair, which no wire carries.
        text = json.dumps(body, ensure_ascii=False).encode(errors="replace").decode()
        body = json.loads(text)
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=body, is_error=failed)


def _failed(tool: Tool, error: MnemeError) -> CallToolResult:
    code, message = error.code, error.message
    if code == MnemeError.code:
        log.error("mcp.crashed", tool=tool.name, exc_info=error)
        message = "internal error; the log of the service says more"
    body: dict[str, Any] = {"code": code, "message": message}
    if isinstance(error, InvalidInput) and error.param is not None:
        body["param"] = error.param
    if isinstance(error, PreconditionFailed | RunFailedHere):
        body |= error.members
    return _result(body, failed=True)


class _Schema(GenerateJsonSchema):
    """Without titles, which repeat the names of the fields in every prompt."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _described(tool: Tool) -> Described:
    return Described(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=_schema(tool.takes, "validation"),
        output_schema=_schema(tool.gives, "serialization"),
        annotations=ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.reads,
            destructive_hint=tool.destroys,
            idempotent_hint=tool.reads or tool.repeatable,
            open_world_hint=tool.open_world,
        ),
    )


def _schema(model: type[BaseModel], mode: Any) -> dict[str, Any]:
    schema = model.model_json_schema(mode=mode, schema_generator=_Schema)
    schema.pop("title", None)
    schema.pop("description", None)
    needed = schema.get("required", [])
    # What must be given is read first.
    schema["properties"] = dict(sorted(schema["properties"].items(), key=lambda item: item[0] not in needed))
    return schema
