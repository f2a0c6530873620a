"""The code door: a real Jupyter kernel in the main thread; `functions` is what its namespace holds."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from traitlets import Any as AnyTrait
from traitlets import Type


class SamovarKernel(IPythonKernel):
    """IPython's kernel; only how it is interrupted and ended differs, as the process is not a notebook's to kill."""

    shut_down = AnyTrait()

    def _send_interrupt_children(self) -> None:
        """Interrupts the cell that runs in the main thread, where one does; never the process group."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            os.kill(os.getpid(), signal.SIGINT)

    async def shutdown_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Answers, then ends the daemon the orderly way; a restart that a front end asks for is not ours to do."""
        content = {"status": "ok", "restart": parent["content"].get("restart", False)}
        assert self.session
        self.session.send(stream, "shutdown_reply", content, parent, ident=ident)
        self.shut_down()


class SamovarKernelApp(IPKernelApp):
    """The kernel's sockets and threads. The connection file and the signals are `samovard.app`'s."""

    kernel_class = Type(SamovarKernel, klass=IPythonKernel)

    def write_connection_file(self, **kwargs: Any) -> None:
        """Left to `samovard.app`, which writes it once both doors are open."""

    def init_signal(self) -> None:
        """Left to `samovard.app`."""

    def log_connection_info(self) -> None:
        """Notes the ports; a daemon has no terminal to print advice to."""
        names = ("shell", "iopub", "stdin", "hb", "control")
        self._ports = {name: getattr(self, f"{name}_port") for name in names}


def make_app(
    sockets: str, *, tcp: bool, curve: tuple[bytes, bytes] | None, shut_down: Callable[[], None]
) -> SamovarKernelApp:
    """The kernel application, its sockets bound, its kernel not yet started. Called in the main thread."""
    # An environment made by another kernel would have ours end with that one, or wait for its signals.
    for name in ("JPY_PARENT_PID", "JPY_INTERRUPT_EVENT", "JPY_SESSION_NAME"):
        os.environ.pop(name, None)
    app = SamovarKernelApp.instance(
        connection_file=os.path.join(sockets, "kernel.json"),
        transport="tcp" if tcp else "ipc",
        ip="127.0.0.1" if tcp else os.path.join(sockets, "kernel"),
        parent_handle=0,
    )
    if curve:
        app.curve_publickey, app.curve_secretkey = curve
    app.initialize([])  # type: ignore[no-untyped-call]
    app.kernel.shut_down = shut_down
    return app


def connection_info(app: SamovarKernelApp) -> dict[str, Any]:
    """The Jupyter part of the connection file."""
    info: dict[str, Any] = {
        "ip": app.ip,
        "key": app.session.key.decode(),
        "transport": app.transport,
        "signature_scheme": app.session.signature_scheme,
        "kernel_name": "samovar",
        **{f"{name}_port": port for name, port in app._ports.items()},
    }
    if app.curve_publickey and app.curve_secretkey:
        info["curve_publickey"] = app.curve_publickey.decode()
        info["curve_secretkey"] = app.curve_secretkey.decode()
    return info
