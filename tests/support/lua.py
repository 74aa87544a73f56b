"""Lua as Argo CD runs it: 5.1, with the base and table libraries, and of `os` only the clock.

Source: Argo CD, util/lua/lua.go (libraries that are opened) and its "safe" os.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import lupa.lua51

__all__ = ["ARGOCD", "run"]

ARGOCD: Final = Path(__file__).parents[2] / "manifests" / "gitops" / "argocd" / "component"
_SANDBOX: Final = """
local clock = {date = os.date, time = os.time}
for _, name in ipairs({"string", "io", "os", "debug", "coroutine", "math", "python", "dofile", "loadfile"}) do
  _G[name] = nil
end
getmetatable("").__index = nil
function require(name)
  assert(name == "os", "no module " .. name)
  return clock
end
"""


def run(script: str, obj: dict[str, Any]) -> Any:
    """What the script returns for an object, as plain data; an empty table is an empty dict.

    Raises
    ------
    lupa.lua51.LuaError
        As Argo CD would report it.
    """
    lua = lupa.lua51.LuaRuntime(register_eval=False, register_builtins=False, unpack_returned_tuples=True)
    lua.execute(_SANDBOX)
    lua.globals().obj = _into(lua, obj)
    return _out_of(lua.execute(script))


def _into(lua: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return lua.table_from({key: _into(lua, one) for key, one in value.items()})
    if isinstance(value, list):
        return lua.table_from([_into(lua, one) for one in value])
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _out_of(value: Any) -> Any:
    if lupa.lua51.lua_type(value) != "table":
        return value
    items = dict(value.items())
    if items and set(items) == set(range(1, len(items) + 1)):
        return [_out_of(items[number]) for number in range(1, len(items) + 1)]
    return {key: _out_of(one) for key, one in items.items()}
