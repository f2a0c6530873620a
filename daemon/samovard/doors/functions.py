"""Every op as a function, for code that runs in the daemon's kernel."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic_core import to_jsonable_python

from samovar.api import Api
from samovar.errors import SamovarError as ClientError
from samovar.ops import OPS as TABLE
from samovard.core import Core
from samovard.model.errors import SamovarError
from samovard.ops.all import call


class InKernel(Api):
    """The ops for code that runs in the daemon. A call blocks the thread that makes it and no other."""

    def __init__(self, core: Core, loop: asyncio.AbstractEventLoop) -> None:
        self._core = core
        self._loop = loop

    def call(self, op: str, **args: Any) -> Any:
        """Calls an op by name and returns its result as plain data. An interrupt cancels the call."""
        future = asyncio.run_coroutine_threadsafe(self._plain(op, args), self._loop)
        try:
            return future.result()
        except SamovarError as error:
            raise ClientError.from_wire(error.as_dict()) from None
        except BaseException:
            future.cancel()
            raise

    async def _plain(self, op: str, args: dict[str, Any]) -> Any:
        return to_jsonable_python(await call(self._core, op, args))


def namespace(core: Core, loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
    """What the kernel's namespace holds at the start: each op by its name, and all of them as `samovar`.

    `list` is `list_` here: a console needs Python's own.
    """
    ops = InKernel(core, loop)
    functions = {name.replace("-", "_"): getattr(ops, name.replace("-", "_")) for name in TABLE}
    functions["list_"] = functions.pop("list")
    return {**functions, "samovar": ops}
