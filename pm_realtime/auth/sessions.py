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
from django.contrib.sessions.backends import cache, cached_db, db, file, signed_cookies
from django.contrib.sessions.backends.base import SessionBase
from django.core import signing
from django.core.cache.backends.base import InvalidCacheKey
from django.core.exceptions import SuspiciousOperation
from django.utils import timezone

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


#: How Django's own engines read a session.
_LOADS_OF_ROWS: Final = (db.SessionStore.load, cached_db.SessionStore.load)
_LOADS_OF_CACHES: Final = (cache.SessionStore.load,)


@dataclass(frozen=True, slots=True)
class Session:
    """A session of a logged-in user as it was read.

    ``auth`` is what Django's login wrote into it. ``expires_at`` is when it ends and ``recheck_at``
    when it has to be read again for that, both in seconds since the epoch.
    """

    key: str = field(repr=False)
    name: str
    auth: Mapping[str, Any] = field(repr=False)
    expires_at: float
    recheck_at: float

    @property
    def is_expired(self) -> bool:
        return self.expires_at <= time.time()

    def renewed(self, auth_hash: str, expires_at: float) -> "Session":
        """This signed-cookie session after the browser was handed a new cookie."""
        auth = {**self.auth, HASH_SESSION_KEY: auth_hash}
        return replace(self, auth=auth, expires_at=expires_at, recheck_at=expires_at)


def read(key: str) -> Session | None:
    """The session behind ``key``; None where it is gone, has expired or nobody is logged in.

    May use the database.
    """
    return read_many([key]).get(key)


def read_many(keys: Iterable[str]) -> dict[str, Session]:
    """The sessions behind ``keys``; those that :func:`read` answers with None are left out.

    One query for all where sessions are in the database or a cache, one reading each elsewhere.
    """
    store = _store_class()
    found: Iterable[Session | None]
    if store.load in _LOADS_OF_ROWS:
        found = _read_rows(store(), list(keys))
    elif store.load in _LOADS_OF_CACHES:
        found = _read_cached(store, list(keys))
    else:
        found = (_read_one(store(key), key) for key in keys)
    return {session.key: session for session in found if session and not session.is_expired}


def are_read_at_once() -> bool:
    """Whether :func:`read_many` asks once for all: not where a site's own engine has its say."""
    return _store_class().load in (*_LOADS_OF_ROWS, *_LOADS_OF_CACHES)


def are_in_cookies() -> bool:
    """Whether a session is all in its cookie, so that the server can neither read nor end it."""
    return issubclass(_store_class(), signed_cookies.SessionStore)


def wait_for_commit() -> bool:
    """Whether what is done to a session waits for the transaction of its request. A database can
    take it back, and a cookie goes out with the answer; a cache or a folder has it at once."""
    return issubclass(_store_class(), db.SessionStore) or are_in_cookies()


def name_of(key: str, data: Mapping[str, Any]) -> str:
    """What processes call a session among themselves: it does not give the key away.

    A signed cookie changes whenever the session does, so such a session has a name of its own.
    """
    return str(data.get(NAME_KEY) or sha256(key.encode()).hexdigest())


def expiry_of(store: Any) -> float:
    """When the session in ``store``, which is being saved now, expires; epoch seconds."""
    return float(store.get_expiry_date().timestamp())


_WATCHED: Final = "_pm_realtime_watched"

Change = Callable[[str, Mapping[str, Any], Any], None]


def watch(on_move: Change, on_renew: Change, on_end: Change) -> None:
    """Have these called with the key and the data that a user's session had, and its store, when
    Django has given it another key, a new cookie that holds it all, and when it has emptied it.

    Django has no signal for that. Its engines change a key in ``cycle_key`` (a password was
    changed, a ``SECRET_KEY`` rotated), and write what is in the session when the answer is ready;
    somebody who logs in as another user loses the session in ``flush`` without a word.
    """
    store = _store_class()
    _watch(store, "cycle_key", on_move)
    if issubclass(store, signed_cookies.SessionStore):
        _watch(store, "save", on_renew)  # Which `asave` calls, as `acycle_key` does `cycle_key`.
    else:
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
        if are_in_cookies() and SESSION_KEY in data:
            # It keeps the name that it has, also where its login came before this app.
            self._session.setdefault(NAME_KEY, name_of(key, data))
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


def _read_cached(store_class: Any, keys: list[str]) -> Iterable[Session | None]:
    prefixed = {f"{store_class.cache_key_prefix}{key}": key for key in keys}
    with suppress(InvalidCacheKey):
        # Not by `load`, which says of a cache that is away that there is nothing in it.
        for name, data in store_class()._cache.get_many(prefixed).items():
            store = store_class(prefixed[name])
            store._session_cache = data
            yield _cached_session(prefixed[name], data, store)


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


def _session(
    key: str, data: Any, expires_at: float, recheck_at: float = math.inf
) -> Session | None:
    if SESSION_KEY not in data:
        return None
    auth = {name: data[name] for name in _AUTH_KEYS if name in data}
    return Session(key, name_of(key, data), auth, expires_at, min(expires_at, recheck_at))


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
