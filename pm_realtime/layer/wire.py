"""The messages that travel in the channel layer: pushes, control messages and liveness probes.

A push carries an encoded envelope to the members of a group. A control message tells connections
in every process that something has changed: close, refresh, subscribe, session ended. A probe is
sent by a hub to itself.

The names of kinds and fields are those of version 0.1, so that both understand each other during a
rolling deploy. A kind whose meaning changes gets a new :data:`CONTROL_VERSION`.
"""

from typing import Any, Final, Self, Union

import msgspec

Message = dict[str, Any]

PUSH_TYPE: Final = "pm_realtime.push"
CONTROL_TYPE: Final = "pm_realtime.instruct"
PROBE_TYPE: Final = "pm_realtime.probe"

#: The version of the control messages that this process sends, and the highest that it accepts.
CONTROL_VERSION: Final = 1


class ControlMessage(msgspec.Struct, frozen=True, tag_field="instruction"):
    """A message from server code in one process to the members of a group in all processes."""


class Close(ControlMessage, tag="close", frozen=True):
    """The connection closes with ``code``."""

    code: int
    reason: str = ""


class Subscribe(ControlMessage, tag="subscribe", frozen=True):
    """The connection joins ``room``, whatever its role is."""

    room: str


class Unsubscribe(ControlMessage, tag="unsubscribe", frozen=True):
    """The connection leaves ``room``."""

    room: str
    reason: str | None = None


class ChangePending(ControlMessage, tag="doubt", frozen=True):
    """An open transaction changes something about the user; nothing follows a rollback."""

    change: str


class Refresh(ControlMessage, tag="refresh", frozen=True):
    """Identity, role and rooms are decided anew; ``change`` was pending and is committed.

    ``if_changed``: the user was saved, and rooms are decided anew only if a field has changed.
    """

    change: str | None = None
    if_changed: bool = False


class Recheck(ControlMessage, tag="recheck", frozen=True):
    """Control messages may have been lost: everything is decided anew, and goes on meanwhile."""


class RefreshRoom(ControlMessage, tag="refresh_room", frozen=True):
    """The rules of ``room`` have changed."""

    room: str


class SessionEnded(ControlMessage, tag="end_session", frozen=True):
    """The user logged out of the Django session called ``session``."""

    session: str


class SessionRekeyed(ControlMessage, tag="move_session", frozen=True):
    """The session called ``session`` has another key, and the response with it is ready.

    ``key`` and ``nonce`` are for processes of version 0.1, which then close the connection too.
    """

    session: str
    key: str = ""
    nonce: str = ""


class CookieExpected(ControlMessage, tag="expect_session", frozen=True):
    """The browser will get another cookie for the signed-cookie session called ``session``."""

    session: str


class CookieRenewed(ControlMessage, tag="renew_session", frozen=True):
    """The browser got that cookie, which expires at ``expires_at`` (seconds since the epoch)."""

    session: str
    auth_hash: str
    expires_at: float


class PresenceChanged(ControlMessage, tag="presence", frozen=True):
    """The members of ``room`` have changed. It is for the process, not for its connections."""

    room: str


_ANY_CONTROL: Final[Any] = Union[tuple(ControlMessage.__subclasses__())]  # noqa: UP007


class Control(msgspec.Struct, frozen=True):
    """A control message as it arrived in ``group``, for the members of ``target``.

    ``cursor`` is its position in the stream of ``group``, ``previous`` that of the one before it.
    """

    group: str
    target: str
    message: ControlMessage
    cursor: str | None = None
    previous: str | None = None

    @classmethod
    def read(cls, message: Message | str) -> Self:
        """The control message in ``message``, which may be the text of one in a stream.

        Raises ``LookupError`` for one that this version of the package does not know, and
        ``TypeError`` for a message that is none.
        """
        if isinstance(message, str):
            message = _read_text(message)
        if message.get("type") != CONTROL_TYPE:
            raise TypeError(f"expected a message of this package, got {message.get('type')!r}")
        kind, version = message.get("instruction"), message.get("version", CONTROL_VERSION)
        if version != CONTROL_VERSION:
            raise LookupError(f"{kind!r} of version {version!r}")
        try:
            fields = {**message["arguments"], "instruction": kind}
            control = msgspec.convert(fields, _ANY_CONTROL)
            group, target = message["group"], message.get("target")
            position = message.get("cursor"), message.get("previous")
        except (msgspec.ValidationError, KeyError, TypeError) as error:
            raise LookupError(f"{kind!r} ({error})") from None
        return cls(group, target or group, control, *position)


def _read_text(text: str) -> Message:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise TypeError(f"expected the text of a control message: {error}") from None


def push_message(
    group: str,
    text: str,
    exclude: str | None,
    cursor: str | None = None,
    previous: str | None = None,
    *,
    is_volatile: bool = False,
) -> Message:
    """The message that carries the encoded envelope ``text`` to the members of ``group``.

    ``cursor`` is its position in the stream of the group, ``previous`` that of the one before it.
    A message that ``is_volatile`` has none; ``exclude`` is then its sender, and a later one of the
    same sender takes its place for a slow reader. Version 0.1 delivers it like the others.
    """
    message: Message = {"type": PUSH_TYPE, "group": group, "text": text, "exclude": exclude}
    if is_volatile:
        message["volatile"] = True
    return message if cursor is None else {**message, "cursor": cursor, "previous": previous}


def control_message(group: str, control: ControlMessage, *, target: str | None = None) -> Message:
    """The message that carries ``control`` to ``group``, or through it to those of ``target``."""
    arguments = msgspec.to_builtins(control)
    kind = arguments.pop("instruction")
    message = {
        "type": CONTROL_TYPE,
        "version": CONTROL_VERSION,
        "group": group,
        "instruction": kind,
        "arguments": arguments,
    }
    return message if target is None else {**message, "target": target}


def control_text(message: Message) -> str:
    """The text of a control message in its stream; :meth:`Control.read` takes it."""
    return msgspec.json.encode(message).decode()


def stream_message(
    group: str,
    text: str,
    exclude: str | None,
    *,
    is_control: bool,
    is_volatile: bool = False,
    cursor: str | None = None,
    previous: str | None = None,
) -> Message:
    """The message that carries ``text``, of a push or a control message, to the members of
    ``group``; the other arguments are as for :func:`push_message`."""
    if not is_control:
        return push_message(group, text, exclude, cursor, previous, is_volatile=is_volatile)
    message = _read_text(text)
    return message if cursor is None else {**message, "cursor": cursor, "previous": previous}


def group_of_push(message: Any) -> str | None:
    """The group of a push; None if ``message`` is not one that can be delivered as it is."""
    try:
        text, exclude = message["text"], message.get("exclude")
        if message["type"] != PUSH_TYPE or not (exclude is None or isinstance(exclude, str)):
            return None
        if not isinstance(text, str):
            return None
        if not text.isascii():
            text.encode()
        return str(message["group"])
    except (KeyError, TypeError, AttributeError, UnicodeEncodeError):
        return None
