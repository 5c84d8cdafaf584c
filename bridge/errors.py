"""One error tree for the wire, the client and the server.

Every error knows its wire code, the field and the value that caused it, and what to do about it::

    BridgeError
    |-- UsageError            this program's own call is wrong (also a ValueError)
    |   |-- ShapeMismatch     an array has another shape or dtype than its field asks for
    |   |-- InvalidValue      a value is outside its field's range
    |   `-- OutOfOrder        the call comes at a moment at which it makes no sense
    |-- PeerError             the other side broke the protocol
    |   |-- ProtocolError     a message cannot be read, or is not allowed now
    |   |-- LimitExceeded     a length is over the limit that was agreed on
    |   |-- VersionMismatch   no common protocol version
    |   `-- Unauthorized      the token is missing or wrong
    |-- TransportError        the connection itself
    |   |-- ConnectFailed     the peer could not be reached in time
    |   `-- ConnectionLost    it was reached, and is gone for longer than we wait
    `-- ServerError           the server could not do its part
        |-- SessionGone       the session expired, or was never known to this server
        |-- ServerBusy        no place for another session
        `-- WorldModelFailed  the world model failed on a clip, repeatedly

An error is raised where it is found and handled once. `to_wire` and `from_wire` are its only other form.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "BridgeError",
    "ConnectFailed",
    "ConnectionLost",
    "InvalidValue",
    "LimitExceeded",
    "OutOfOrder",
    "PeerError",
    "ProtocolError",
    "ServerBusy",
    "ServerError",
    "SessionGone",
    "ShapeMismatch",
    "TransportError",
    "Unauthorized",
    "UsageError",
    "VersionMismatch",
    "WorldModelFailed",
    "error_from_code",
]


class BridgeError(Exception):
    """Base of every error that this project raises on purpose.

    Args:
        problem: what is wrong, in one sentence without the remedy.
        field: the field, argument or flag that caused it, as its user spells it.
        value: the offending value, short enough to print.
        remedy: what to do about it, as an instruction.
    """

    code: ClassVar[str] = "bridge"

    def __init__(self, problem: str, *, field: str = "", value: Any = "", remedy: str = "") -> None:
        self.problem = problem
        self.field = field
        self.value = str(value)
        self.remedy = remedy
        super().__init__(problem, field, self.value, remedy)

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        got = f" (got {self.value})" if self.value else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{where}{self.problem}{got}.{remedy}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.problem, self.field, self.value, self.remedy)


def _rebuild(cls: type[BridgeError], problem: str, field: str, value: str, remedy: str) -> BridgeError:
    return cls(problem, field=field, value=value, remedy=remedy)


class UsageError(BridgeError, ValueError):
    """This program's own call is wrong."""

    code = "usage"


class ShapeMismatch(UsageError):
    """An array has another shape or dtype than its field asks for."""

    code = "usage.shape"


class InvalidValue(UsageError):
    """A value is outside its field's range."""

    code = "usage.value"


class OutOfOrder(UsageError):
    """The call comes at a moment at which it makes no sense."""

    code = "usage.order"


class PeerError(BridgeError):
    """The other side broke the protocol."""

    code = "peer"


class ProtocolError(PeerError):
    """A message cannot be read, or is not allowed now."""

    code = "peer.protocol"


class LimitExceeded(PeerError):
    """A length is over the limit that was agreed on."""

    code = "peer.limit"


class VersionMismatch(PeerError):
    """The two sides have no protocol version in common."""

    code = "peer.version"


class Unauthorized(PeerError):
    """The token is missing or wrong."""

    code = "peer.token"


class TransportError(BridgeError):
    """The connection itself failed."""

    code = "transport"


class ConnectFailed(TransportError):
    """The peer could not be reached in time."""

    code = "transport.connect"


class ConnectionLost(TransportError):
    """The peer was reached, and has been gone for longer than we wait."""

    code = "transport.lost"


class ServerError(BridgeError):
    """The server could not do its part."""

    code = "server"


class SessionGone(ServerError):
    """The session expired, or was never known to this server."""

    code = "server.session"


class ServerBusy(ServerError):
    """The server has no place for another session."""

    code = "server.busy"


class WorldModelFailed(ServerError):
    """The world model failed on a clip, repeatedly."""

    code = "server.model"


def _tree(cls: type[BridgeError]) -> list[type[BridgeError]]:
    return [cls, *(leaf for child in cls.__subclasses__() for leaf in _tree(child))]


_BY_CODE = {cls.code: cls for cls in _tree(BridgeError)}


def error_from_code(code: str, problem: str, *, field: str = "", value: str = "", remedy: str = "") -> BridgeError:
    """Return the error that a peer named by its wire code; an unknown code becomes its nearest known parent."""
    while code and code not in _BY_CODE:
        code = code.rpartition(".")[0]
    return _BY_CODE.get(code, BridgeError)(problem, field=field, value=value, remedy=remedy)
