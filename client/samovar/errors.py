"""What a client raises. Errors of the daemon arrive with its code and message; three are the client's own."""

from __future__ import annotations

from typing import Any


class SamovarError(Exception):
    """An op failed. `code` is stable, `fault` is `caller`, `backend` or `daemon`; docs/ops.md lists the codes."""

    code = "internal"
    fault = "daemon"
    retryable = False

    def __init__(self, message: str, *, code: str | None = None, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.data = data

    @classmethod
    def from_wire(cls, body: dict[str, Any]) -> SamovarError:
        """The error that a daemon sent."""
        code = str(body.get("code", "internal"))
        kind = ProtocolMismatch if code == ProtocolMismatch.code else SamovarError
        error = kind(str(body.get("message", "the daemon gave no reason")), code=code)
        error.data = dict(body.get("data") or {})
        error.fault = str(body.get("fault", "daemon"))
        error.retryable = bool(body.get("retryable", False))
        return error


CODES = {
    "client_closed": "The client was closed, by this thread or another.",
    "connection_refused": "The daemon did not take the connection: the keys in its connection file are not its own.",
    "daemon_gone": "The daemon ended, or stopped answering, while a request was under way.",
    "file_not_utf8": "A file, or standard input, that is no UTF-8 text.",
    "file_unreadable": "A file that is not there, or not yours to read.",
    "missing_extra": "What was asked for needs an extra that is not installed.",
    "no_daemon": "There is no daemon, and none was to be started, or it could not be.",
    "no_log": "No daemon has written a log here yet.",
    "os_error": "The output could not be written, or the operating system refused a file.",
    "usage": "The command line does not say what the command needs.",
}
"""The codes that are the client's own; the others are the daemon's."""


class UsageError(SamovarError):
    """What was asked for can't be sent: a file that is not there, a value of the wrong type."""

    code = "usage"
    fault = "caller"


class NoDaemon(SamovarError):
    """There is no daemon, and none could be started or was to be."""

    code = "no_daemon"
    retryable = True


class DaemonGone(SamovarError):
    """The daemon ended, or stopped answering, while a request was under way."""

    code = "daemon_gone"
    retryable = True


class ProtocolMismatch(SamovarError):
    """The daemon speaks another version of the wire."""

    code = "protocol_mismatch"
