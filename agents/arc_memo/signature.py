"""What the text of a helper says of the function in it. Runs in the sandbox, from this file's text, with helpers as data.

Nothing of a helper is executed here: it is parsed, by a process that may come to grief over it. So this file stands alone
and imports nothing of ours. Source: ours.
"""

from __future__ import annotations

import ast
import builtins
import keyword

MAX_DOC = 300


def signature(source: str) -> dict[str, str]:
    """`name`, `signature` and `doc` of the one function that the text defines, or `why` it is no helper."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return {"why": f"it is not Python: {error}"[:MAX_DOC]}
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef):
        return {"why": "expected one function and nothing beside it"}
    function = body[0]
    if function.decorator_list:
        return {"why": "expected a function without decorators"}
    if function.name in dir(builtins) or keyword.issoftkeyword(function.name):
        return {"why": f"{function.name!r} has a meaning in Python already; expected another name"}
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    doc = (ast.get_docstring(function) or "").split("\n\n")[0]
    return {
        "name": function.name,
        "signature": f"{function.name}({ast.unparse(function.args)}){returns}"[:MAX_DOC],
        "doc": " ".join(doc.split())[:MAX_DOC],
    }
