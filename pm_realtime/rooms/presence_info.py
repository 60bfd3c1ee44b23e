"""The profile of a member, which others see, with ``info`` as the option of its room says.

``info`` is a function of the site that may be slow, stuck or broken. It is asked for many users
together, and nobody is kept out of a room by it.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from pm_realtime.auth import Identity
from pm_realtime.backends import Profile
from pm_realtime.concurrency import Coalescer, PerLoop
from pm_realtime.conf import Room, conf
from pm_realtime.observability import throttle
from pm_realtime.protocol import to_json
from pm_realtime.rooms.limited_calls import call_limited, describe_failure, import_function
from pm_realtime.rooms.site_code import run_site_code

logger = logging.getLogger("pm_realtime.room")

#: Bytes of JSON that the info of one member may have.
MAX_INFO_BYTES: Final = 4096
#: Hexadecimal digits of the key of a member that is a connection.
KEY_DIGITS: Final = 16

_Asker = Coalescer[Any, str | None]
#: By the dotted path of the function and the option that names it.
_askers: Final = PerLoop[dict[tuple[str, str], _Asker]](dict)


def key_of(room: Room, identity: Identity, client_id: str) -> str | None:
    """The key of the member that a connection of ``client_id`` is; None if it is none.

    After a login or logout, a client is another member.
    """
    assert room.options.presence is not None
    if room.options.presence.per == "connection":
        whose = to_json((identity.user_id, client_id))
        return hashlib.sha256(whose).hexdigest()[:KEY_DIGITS]
    return str(identity.user_id) if identity.is_authenticated else None


async def make_profile(room: Room, identity: Identity, key: str) -> Profile:
    """The present profile of the member ``key``; without info if ``info`` fails."""
    user_id = str(identity.user_id) if identity.is_authenticated else None
    info = await _info_of(room, identity)
    text = f'{{"userId":{to_json(identity.user_id).decode()},"info":{info or "{}"}}}'
    return Profile(key=key, user_id=user_id, text=text, has_info=info is not None)


async def _info_of(room: Room, identity: Identity) -> str | None:
    """The info of a member as a JSON text; None if it cannot be told."""
    options = room.options.presence
    if options is None or not identity.is_authenticated:
        return "{}"
    if options.info is None:
        return _text_of(conf.NAME_RESOLVER or "NAME_RESOLVER", lambda: {"name": identity.name})
    askers, where = _askers.get(), f"{room.options.setting}['presence']['info']"
    if (asker := askers.get((options.info, where))) is None:
        answer_all = partial(_ask, options.info, where)
        asker = askers[options.info, where] = Coalescer(answer_all)
    return await asker.ask(identity.user)


async def _ask(path: str, where: str, users: Sequence[Any]) -> list[str | Exception | None]:
    """The info of each of ``users``, all None if it cannot be had."""
    seconds = conf.AUTHORIZE_TIMEOUT
    unique = list({user.pk: user for user in users}.values())
    try:
        async with asyncio.timeout(seconds) as limit:
            function = import_function(path, where)
            ask = partial(run_site_code, function, unique)
            found = await call_limited(path, function, ask)
    except Exception as error:
        if isinstance(error, TimeoutError) and limit.expired():
            if count := throttle.note(("slow", path)):
                text = "%s did not answer within %g s (AUTHORIZE_TIMEOUT). Times: %d."
                logger.warning(text, path, seconds, count)
        elif count := throttle.note_error(error, path):
            about = describe_failure(path, error)
            logger.error("%s Times: %d.", about, count, exc_info=error)
        return [None] * len(users)
    if not isinstance(found, Mapping):
        _log_fault(path, "must return a dict by primary key", type(found).__name__)
        return [None] * len(users)
    texts = {user.pk: _text_of(path, partial(_find, path, found, user.pk)) for user in unique}
    return [texts[user.pk] for user in users]


def _find(path: str, found: Mapping[Any, Any], pk: Any) -> Any:
    if pk not in found and str(pk) in found:
        _log_fault(path, "must return a dict by primary key", f"{str(pk)!r} instead of {pk!r}")
    return found.get(pk, {})


def _text_of(path: str, find_info: Callable[[], Any]) -> str:
    try:
        info = find_info()
        if not isinstance(info, Mapping):
            _log_fault(path, "must return a dict for each user", type(info).__name__)
            return "{}"
        text = to_json(dict(info))
    except Exception as error:  # Of a lazy text, say, which is made only now.
        reason = str(error) if isinstance(error, TypeError | ValueError) else repr(error)
        _log_fault(path, "must return what JSON can hold", reason)
        return "{}"
    if len(text) > MAX_INFO_BYTES:
        _log_fault(path, f"must return at most {MAX_INFO_BYTES} bytes for a user", str(len(text)))
        return "{}"
    return text.decode()


def _log_fault(path: str, rule: str, found: str) -> None:
    if count := throttle.note((path, rule)):
        logger.error("%s %s, got %s. Times: %d.", path, rule, found, count)
