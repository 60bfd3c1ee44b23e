"""Django's sessions, engine by engine, as an open connection needs them.

What is in a session now, until when it lasts, by what name processes speak of it, and what becomes
of it when Django gives it another key. Reading here never writes: a handshake or a re-check cannot
hand the browser a new cookie, and Django keeps what it would keep.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends import cache, db, file, signed_cookies
from django.contrib.sessions.backends.base import SessionBase
from django.core import signing
from django.core.cache.backends.base import InvalidCacheKey
from django.core.exceptions import SuspiciousOperation
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

#: Where a signed-cookie session keeps the name that stays when its cookie changes.
NAME_KEY: Final = "_pm_realtime_session"
_AUTH_KEYS: Final = (SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY)

#: A cache does not tell when an entry expires. Sessions shorter than this (seconds) are looked at
#: this often (seconds); longer ones when they would expire at the latest, and by the sweep.
SHORT: Final = 3600.0
PROBE: Final = 0.8
#: Within the second that a signature names: a session ends hardly before its time, and not more
#: than this after it.
ALMOST_A_SECOND: Final = timedelta(seconds=0.9)

#: Bytes that the name of a file can have; a cookie can say anything.
MAX_NAME: Final = 255


@dataclass(frozen=True, slots=True)
class Session:
    """A session of a logged-in user as it was read.

    ``auth`` is what Django's login wrote into it. ``expires_at`` is when it ends and ``look_at``
    when it has to be read again for that, both in seconds since the epoch.
    """

    key: str = field(repr=False)
    name: str
    auth: Mapping[str, Any] = field(repr=False)
    expires_at: float
    look_at: float

    @property
    def is_expired(self) -> bool:
        return self.expires_at <= time.time()


def read(key: str) -> Session | None:
    """The session behind ``key``; None where it is gone, has expired or nobody is logged in.

    May use the database.
    """
    return read_many([key]).get(key)


def read_many(keys: Iterable[str]) -> dict[str, Session]:
    """The sessions behind ``keys``; those that :func:`read` answers with None are left out.

    One query for all where sessions are in the database, one reading each elsewhere.
    """
    store = _store_class()
    found: Iterable[Session | None]
    if issubclass(store, db.SessionStore):
        found = _read_rows(store(), list(keys))
    else:
        found = (_read_one(store(key), key) for key in keys)
    return {session.key: session for session in found if session and not session.is_expired}


def are_read_at_once() -> bool:
    """Whether :func:`read_many` asks once for all."""
    return issubclass(_store_class(), db.SessionStore)


def are_in_cookies() -> bool:
    """Whether a session is all in its cookie, so that the server can neither read nor end it."""
    return issubclass(_store_class(), signed_cookies.SessionStore)


def wait_for_commit() -> bool:
    """Whether what is done to a session waits for the transaction of its request. A database can
    take it back, and a cookie goes out with the answer; a cache or a folder has it at once."""
    return are_read_at_once() or are_in_cookies()


def name_of(key: str, data: Mapping[str, Any]) -> str:
    """What processes call a session among themselves: it does not give the key away.

    A signed cookie changes whenever the session does, so such a session has a name of its own.
    """
    return str(data.get(NAME_KEY) or sha256(key.encode()).hexdigest())


def renewed(session: Session, auth_hash: str, expires_at: float) -> Session:
    """A signed-cookie session after the browser was handed a new cookie."""
    auth = {**session.auth, HASH_SESSION_KEY: auth_hash}
    return Session(session.key, session.name, auth, expires_at, expires_at)


def moved(session: Session, sealed_key: str, nonce: str) -> Session:
    """``session`` after Django gave it the key in ``sealed_key``; it is as it was where that
    cannot be read here (processes differ in their ``SECRET_KEY``)."""
    for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        key = _open(sealed_key, _pad(session.key, nonce, len(sealed_key) // 2, secret))
        if key is not None:
            return replace(session, key=key, name=name_of(key, {}))
    return session


def seal(new_key: str, old_key: str, nonce: str) -> str:
    """``new_key`` as only those can read it who know ``old_key`` and this site's secret."""
    text = _tag(new_key) + new_key.encode()
    pad = _pad(old_key, nonce, len(text), settings.SECRET_KEY)
    return bytes(a ^ b for a, b in zip(text, pad, strict=True)).hex()


def expiry_of(store: Any) -> float:
    """When the session in ``store``, which is being saved now, expires; epoch seconds."""
    return float(store.get_expiry_date().timestamp())


_TAG_BYTES: Final = 16
_WATCHED: Final = "_pm_realtime_watched"


def _tag(key: str) -> bytes:
    return sha256(key.encode()).digest()[:_TAG_BYTES]


def _open(sealed_key: str, pad: bytes) -> str | None:
    """What is in ``sealed_key``; None where it was sealed with another ``pad``."""
    key = bytes(a ^ b for a, b in zip(bytes.fromhex(sealed_key), pad, strict=True))
    try:
        text = key[_TAG_BYTES:].decode()
    except UnicodeDecodeError:
        return None
    return text if constant_time_compare(_tag(text), key[:_TAG_BYTES]) else None


def _pad(key: str, nonce: str, length: int, secret: str | bytes) -> bytes:
    """As many bytes as are asked for that nobody can know without ``key``."""
    blocks = (
        salted_hmac(
            "pm_realtime.sessions", f"{nonce}:{number}:{key}", secret, algorithm="sha512"
        ).digest()
        for number in range(math.ceil(length / 64))
    )
    return b"".join(blocks)[:length]


Change = Callable[[str, Mapping[str, Any], Any], None]


def watch(on_move: Change, on_end: Change) -> None:
    """Have ``on_move`` and ``on_end`` called with the key and the data that a user's session had,
    and its store, when Django has given it another key and when Django has emptied it.

    Django has no signal for that. Its engines change a key in ``cycle_key`` (a password was
    changed, a ``SECRET_KEY`` rotated), the one of signed cookies whenever it saves; and somebody
    who logs in as another user loses the session in ``flush`` without a word.
    """
    store = _store_class()
    if issubclass(store, signed_cookies.SessionStore):
        _watch(store, "save", on_move)  # Which `asave` and the others call.
    else:
        _watch(store, "cycle_key", on_move)
        _watch_async(store, "acycle_key", on_move)
    _watch(store, "flush", on_end)
    _watch_async(store, "aflush", on_end)


def _watch(store: Any, name: str, on_change: Change) -> None:
    original = getattr(store, name)
    if hasattr(original, _WATCHED):
        return

    @wraps(original)
    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        key = self.session_key
        # Read now where nobody has yet: afterwards nobody can say whose it was.
        data = dict(self._session) if key else {}
        result = original(self, *args, **kwargs)
        _report(self, key, data, on_change)
        return result

    setattr(watched, _WATCHED, True)
    setattr(store, name, watched)


def _watch_async(store: Any, name: str, on_change: Change) -> None:
    original = getattr(store, name)
    if hasattr(original, _WATCHED):
        return

    @wraps(original)
    async def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        key = self.session_key
        data = dict(await self._aget_session()) if key else {}
        result = await original(self, *args, **kwargs)
        _report(self, key, data, on_change)
        return result

    setattr(watched, _WATCHED, True)
    setattr(store, name, watched)


def _report(store: Any, key: str | None, data: dict[str, Any], on_change: Change) -> None:
    if key and SESSION_KEY in data:
        on_change(key, data, store)


def _store_class() -> type[SessionBase]:
    store: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore
    return store


def _read_rows(store: Any, keys: list[str]) -> list[Session | None]:
    rows = store.get_model_class()._default_manager.filter(
        session_key__in=keys, expire_date__gt=timezone.now()
    )
    return [
        _session(key, store.decode(text), expires.timestamp())
        for key, text, expires in rows.values_list("session_key", "session_data", "expire_date")
    ]


def _read_one(store: Any, key: str) -> Session | None:
    # An engine that finds nothing, or what has expired, would begin a new session.
    store.create = store.delete = _change_nothing
    data = store.load()
    if not data:
        _try_to_reach(store, key)
    if SESSION_KEY not in data:
        return None
    store._session_cache = data
    if isinstance(store, file.SessionStore):
        try:
            modified = store._last_modification()  # type: ignore[attr-defined]
        except FileNotFoundError:
            return None
        return _session(key, data, _end_of(store, modified))
    if isinstance(store, signed_cookies.SessionStore):
        return _session(key, data, _end_of_cookie(store, key))
    return _cached_session(key, data, store)


def _try_to_reach(store: Any, key: str) -> None:
    """Raise what engines keep to themselves: where they cannot read, they say there is nothing.

    Nobody is to be logged out because a cache is away, or no file can be opened.
    """
    if isinstance(store, cache.SessionStore):
        with suppress(InvalidCacheKey):
            store._cache.get(f"{store.cache_key_prefix}{key}")  # type: ignore[attr-defined]
    elif isinstance(store, file.SessionStore):
        with suppress(FileNotFoundError, SuspiciousOperation):
            path = Path(store._key_to_file(key))  # type: ignore[attr-defined]
            if len(path.name) <= MAX_NAME:
                path.open().close()


def _change_nothing(*args: Any, **kwargs: Any) -> None:
    pass


def _session(key: str, data: Any, expires_at: float, look_at: float = math.inf) -> Session | None:
    if SESSION_KEY not in data:
        return None
    auth = {name: data[name] for name in _AUTH_KEYS if name in data}
    return Session(key, name_of(key, data), auth, expires_at, min(expires_at, look_at))


def _end_of(store: Any, modified: datetime) -> float:
    return float(store.get_expiry_date(modification=modified).timestamp())


def _end_of_cookie(store: Any, key: str) -> float:
    """A cookie carries the second of its signature, and Django takes none that is too old."""
    signed = datetime.fromtimestamp(signing.b62_decode(key.rsplit(":", 2)[1]), UTC)
    oldest = signed + timedelta(seconds=store.get_session_cookie_age())
    return min(_end_of(store, signed + ALMOST_A_SECOND), oldest.timestamp())


def _cached_session(key: str, data: Any, store: Any) -> Session | None:
    now, end = time.time(), _end_of(store, timezone.now())
    return _session(key, data, end, now + PROBE if end - now < SHORT else end)
