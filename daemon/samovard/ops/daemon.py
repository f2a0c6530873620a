"""Ops on the daemon itself."""

from __future__ import annotations

import time

from samovar.version import PROTOCOL, __version__
from samovard.core import Core
from samovard.model.errors import codes
from samovard.model.views import DescribeView, ModelView, PingView, ShutdownView, StatusView

from .arguments import GraceS, SomeSession
from .registry import OPS, op

_LATEST_ASKS = 20


@op(effect="read")
async def ping(core: Core) -> PingView:
    """Answers, and says which daemon it was."""
    return PingView(__version__, PROTOCOL, core.daemon.pid)


@op(effect="read")
async def status(core: Core, *, session: SomeSession = None) -> StatusView:
    """Returns how the daemon is, what the last one's end interrupted, and how a session and its latest asks are.

    Errors: unknown_session.
    """
    running, queued = core.asks.load()
    return StatusView(
        version=__version__,
        protocol=PROTOCOL,
        pid=core.daemon.pid,
        home=core.daemon.home,
        uptime_s=round(time.time() - core.daemon.started_at, 3),
        sessions=await core.sessions.count(),
        running=running,
        queued=queued,
        interrupted=core.interrupted,
        session=(await core.sessions.find(session)).view() if session else None,
        asks=await core.asks.latest(session, _LATEST_ASKS) if session else [],
    )


@op(effect="read")
async def models(core: Core) -> list[ModelView]:
    """Lists the models that sessions can be spawned on, the default first."""
    return core.models.views()


@op(effect="read")
async def describe(core: Core) -> DescribeView:
    """Returns every op with its arguments, and every error code with its meaning."""
    return DescribeView(__version__, PROTOCOL, [OPS[name].view() for name in sorted(OPS)], codes())


@op(effect="stop")
async def shutdown(core: Core, *, grace_s: GraceS = None) -> ShutdownView:
    """Ends the daemon: no more asks are taken, running ones may end within the grace, the rest are interrupted.

    Returns as soon as that has begun.
    """
    grace = core.daemon.grace_s if grace_s is None else grace_s
    running, _ = core.asks.load()
    core.daemon.shut_down(grace)
    return ShutdownView(core.daemon.pid, grace, running)
