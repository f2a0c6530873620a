"""The code door: a real Jupyter kernel in the main thread; `functions` is what its namespace holds."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import zmq
from ipykernel.displayhook import ZMQShellDisplayHook
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from traitlets import Any as AnyTrait
from traitlets import Type


class PerThreadDisplayHook(ZMQShellDisplayHook):
    """Shows values. Subshells do so at once, so the message that is being made is each thread's own."""

    _making = threading.local()

    @property
    def msg(self) -> dict[str, Any] | None:
        """The message that this thread is making."""
        return getattr(self._making, "msg", None)

    @msg.setter
    def msg(self, value: dict[str, Any] | None) -> None:
        self._making.msg = value


class SamovarShell(ZMQInteractiveShell):
    """IPython's shell; `exit()` ends the front end that it is typed in, and not the daemon."""

    displayhook_class = Type(PerThreadDisplayHook)

    def ask_exit(self) -> None:
        """Tells the front end to leave and to keep the kernel."""
        self.keepkernel_on_exit = True  # type: ignore[assignment]
        super().ask_exit()  # type: ignore[no-untyped-call]


class SamovarKernel(IPythonKernel):
    """IPython's kernel; only how it is interrupted and ended differs, as the process is not a notebook's to kill."""

    shell_class = Type(SamovarShell)
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

    def init_iopub(self, context: Any) -> None:
        """Has every subscriber greeted: without this, libzmq tells the kernel of the first alone, the others wait."""
        context.setsockopt(zmq.XPUB_VERBOSE, 1)
        super().init_iopub(context)  # type: ignore[no-untyped-call]

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
