"""The only place that assembles everything: home, log, journal, core, doors.

IPython has the main thread. Core, backends and the ops door share one asyncio loop in a thread of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samovar.home import Home
from samovar.version import PROTOCOL, __version__
from samovard import log
from samovard.config import Config, read_config
from samovard.core import BackendLoader, Core, Daemon, Models
from samovard.doors.socket import OpsSocket
from samovard.home import HeldHome
from samovard.journal import open_journal
from samovard.model.errors import ConfigInvalid

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop

SWITCH_INTERVAL_S = 0.0001
"""For how long a cell that computes holds the interpreter before the core has its turn; Python's own is 5 ms."""

BACKENDS = {"reader": "samovard.backends.reader:ReaderBackend"}
"""The backends of this release: name -> `module:Class`, imported on first use."""

_MAIN_THREAD_LEAVE_S = 2.0


class Service(threading.Thread):
    """The core's thread: opens journal, core and ops door, serves until told to stop, closes them in turn."""

    def __init__(
        self, held: HeldHome, config: Config, grace_s: float, curve: tuple[bytes, bytes] | None, tcp: bool
    ) -> None:
        super().__init__(name="core")
        self.loop = asyncio.new_event_loop()
        self.core: Core
        self.ops: OpsSocket
        self.failure: BaseException | None = None
        self.opened = threading.Event()
        self.wakeup: socket.socket | None = None
        self.stopped: Callable[[], None] = lambda: None
        self._held = held
        self._config = config
        self._grace_s = grace_s
        self._curve = curve
        self._tcp = tcp
        self._ending: asyncio.Future[float] = self.loop.create_future()

    def run(self) -> None:
        """Runs the loop to its end."""
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._serve())
        except BaseException as error:  # noqa: BLE001 - a thread's root; `main` reports it
            self.failure = error
            log.error("daemon/failed", exception=error)
        finally:
            self.opened.set()
            self.loop.close()
            self.stopped()

    def shut_down(self, grace_s: float | None = None) -> None:
        """Begins the shutdown, from any thread."""
        with suppress(RuntimeError):  # The loop is closed: it is over already.
            self.loop.call_soon_threadsafe(self._begin_stop, self._grace_s if grace_s is None else grace_s)

    def _begin_stop(self, grace_s: float) -> None:
        if not self._ending.done():
            self._ending.set_result(grace_s)

    async def _serve(self) -> None:
        journal, interrupted = await open_journal(Path(self._held.home.sessions))
        for ask in interrupted:
            log.warning("ask/interrupted", ask=ask.ask, session=ask.session, model=ask.model)
        daemon = Daemon(self._held.home.root, os.getpid(), time.time(), self._grace_s, self.shut_down)
        models = Models(backend_loaders(self._config), self._config.default_model)
        self.core = Core(journal, models, daemon=daemon, log_content=self._config.log_content, interrupted=interrupted)
        endpoint = "tcp://127.0.0.1:*" if self._tcp else f"ipc://{self._held.home.sockets}/ops"
        self.ops = OpsSocket(self.core, endpoint, self._curve)
        self.opened.set()
        grace_s = await self._ending
        log.info("daemon/stopping", grace_s=grace_s)
        self._held.withdraw()
        await self.core.drain(grace_s)
        await self.ops.close()
        await self.core.close()


def backend_loaders(config: Config) -> dict[str, BackendLoader]:
    """The backends by name: ours, then those that the config names."""
    return {name: _loader(name, place) for name, place in {**BACKENDS, **config.backends}.items()}


def _loader(name: str, place: str) -> BackendLoader:
    def load() -> Any:
        module, _, kind = place.partition(":")
        try:
            return getattr(import_module(module), kind)()
        except Exception as error:  # noqa: BLE001 - another's code, which may raise anything
            raise ConfigInvalid(
                f"backend {name!r} of samovar.yaml can't be loaded from {place!r} "
                f"({type(error).__name__}: {error}); it is to be `module:Class`, made without arguments"
            ) from None

    return load


def run(home: Home, *, foreground: bool, tcp: bool, grace_s: float | None, ready: Callable[[], None]) -> None:
    """Runs the daemon of `home` until it is told to stop. Called in the main thread. Raises SamovarError."""
    began = time.perf_counter()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    config = read_config(Path(home.config))
    held = HeldHome(home)
    try:
        log.configure(Path(home.logs), level=config.log_level, terminal=foreground)
        curve = _new_keys() if tcp else None
        service = Service(held, config, config.grace_s if grace_s is None else grace_s, curve, tcp)
        _watch_signals(service, foreground)
        from tornado.ioloop import IOLoop

        loop = IOLoop.current()
        # Called on the service's thread at its end, which may come before this thread's loop has begun.
        service.stopped = lambda: _leave(loop, held)
        service.start()
        try:
            _run_kernel(service, held, tcp, curve, lambda: _announce(began, home, ready))
        finally:
            service.shut_down() if service.is_alive() else None
            service.join()
        if service.failure:
            raise service.failure
        log.info("daemon/stopped", pid=os.getpid())
    finally:
        held.release()


def _announce(began: float, home: Home, ready: Callable[[], None]) -> None:
    log.info(
        "daemon/up",
        pid=os.getpid(),
        version=__version__,
        home=home.root,
        took_s=round(time.perf_counter() - began, 3),
    )
    ready()


def _new_keys() -> tuple[bytes, bytes]:
    import zmq

    return zmq.curve_keypair()


def _run_kernel(
    service: Service,
    held: HeldHome,
    tcp: bool,
    curve: tuple[bytes, bytes] | None,
    announce: Callable[[], None],
) -> None:
    from tornado.ioloop import IOLoop

    from samovard.doors import kernel  # IPython, imported while the service opens its journal

    app = kernel.make_app(held.home.sockets, tcp=tcp, curve=curve, shut_down=service.shut_down)
    service.opened.wait()
    if service.failure:
        return
    loop = IOLoop.current()
    held.publish({"ops": service.ops.endpoint, "pid": os.getpid(), "protocol": PROTOCOL, **kernel.connection_info(app)})
    announce()
    # Requests wait in the sockets until the kernel starts; whoever waits for the daemon need not wait for this.
    from samovard.doors.functions import namespace

    app.kernel.shell.push(namespace(service.core, service.loop), interactive=False)
    app.kernel.start()
    loop.start()
    app.close()  # type: ignore[no-untyped-call]


def _leave(loop: IOLoop, held: HeldHome) -> None:
    """Ends the main thread's loop; a cell that still runs there is interrupted, and left behind if it won't end."""
    loop.add_callback(loop.stop)
    threading.Thread(target=_insist, args=[held], name="leaving", daemon=True).start()


def _insist(held: HeldHome) -> None:
    time.sleep(0.2)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    time.sleep(_MAIN_THREAD_LEAVE_S)
    log.warning("daemon/left-a-cell", reason="a cell would not end; the process ends without it")
    held.release()
    os._exit(0)


def _watch_signals(service: Service, foreground: bool) -> None:
    """SIGTERM, and Ctrl-C in a foreground daemon between cells, begin the shutdown.

    SIGTERM is read from the wakeup descriptor by the core's loop, so that a cell that keeps the main thread busy
    delays it no more than it delays an op.
    """
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)

    def arrived() -> None:
        if signal.SIGTERM in ours.recv(4096):
            service.shut_down()

    service.loop.add_reader(ours, arrived)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, (lambda *_: service.shut_down()) if foreground else signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    theirs.detach()
    service.wakeup = ours  # Open until the process ends: a signal may come that late.
