"""Django's sessions, engine by engine: reading them, and hooks for their changes.

Reading a session never writes it: a handshake or a recheck cannot hand the browser a new cookie.
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
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends import cache, cached_db, db, file, signed_cookies
from django.contrib.sessions.backends.base import SessionBase
from django.core import signing
from django.core.cache.backends.base import InvalidCacheKey
from django.core.exceptions import SuspiciousOperation
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils import timezone

#: The key of the name in a signed-cookie session. The name stays when the cookie changes.
NAME_KEY: Final = "_pm_realtime_session"
_AUTH_KEYS: Final = (SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY)

#: A cache does not tell when an entry expires, so a session in a cache that may expire within
#: `SHORT_SESSION_SECONDS` is read again after `CACHED_SESSION_SECONDS`. The others are read again
#: when they expire at the latest, and by the sweep.
SHORT_SESSION_SECONDS: Final = 3600.0
CACHED_SESSION_SECONDS: Final = 0.8
#: A signature names a full second. With this, a session ends hardly before its time, and less than
#: a second after it.
SIGNATURE_ROUNDING: Final = timedelta(seconds=0.9)

#: A cookie may hold any text, and a longer name of a file is an error.
MAX_FILE_NAME_BYTES: Final = 255

#: The loading methods of Django's own engines.
_DATABASE_LOADS: Final = (db.SessionStore.load, cached_db.SessionStore.load)
_CACHE_LOADS: Final = (cache.SessionStore.load,)

#: The errors of an engine that cannot be imported.
ENGINE_ERRORS: Final = (ImportError, AttributeError, ValueError)
#: The app with the table of Django's sessions, and the method that imports its model.
APP: Final = "django.contrib.sessions"
_get_djangos_model: Final[Any] = db.SessionStore.get_model_class.__func__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Session:
    """A session of a logged-in user as it was read.

    ``auth`` has the keys that Django's login wrote into it. ``expires_at`` is the time at which it
    ends, and ``recheck_at`` the time at which it has to be read again, in seconds since the epoch.
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
    """The session with ``key``; None if it is gone, has expired or has no logged-in user.

    May use the database.
    """
    return read_many([key]).get(key)


def read_many(keys: Iterable[str]) -> dict[str, Session]:
    """The sessions with ``keys``, without those for which :func:`read` returns None.

    Sessions in the database or a cache are read with one query for all, others one by one.
    """
    store = _store_class()
    found: Iterable[Session | None]
    if store.load in _DATABASE_LOADS:
        found = _read_rows(store(), list(keys))
    elif store.load in _CACHE_LOADS:
        found = _read_cached(store, list(keys))
    else:
        found = (_read_one(store(key), key) for key in keys)
    return {session.key: session for session in found if session and not session.is_expired}


def are_read_at_once() -> bool:
    """Whether :func:`read_many` takes one query. A site's own engine reads each session."""
    return _store_class().load in (*_DATABASE_LOADS, *_CACHE_LOADS)


def are_kept() -> bool:
    """Whether this site has sessions; see :func:`missing_part`."""
    return missing_part() is None


def missing_part() -> str | None:
    """The setting that lacks what sessions in the database need; None if they have it all.

    Other engines need neither a database nor an app, and a site's own table is in its own app.
    """
    store = _store_class()
    if not issubclass(store, db.SessionStore):
        return None
    engine = connections.settings[DEFAULT_DB_ALIAS]["ENGINE"]
    if engine == "django.db.backends.dummy" and not settings.DATABASE_ROUTERS:
        return "DATABASES"
    get_model_class: Any = store.get_model_class
    is_djangos = get_model_class.__func__ is _get_djangos_model
    return "INSTALLED_APPS" if is_djangos and not apps.is_installed(APP) else None


def are_in_cookies() -> bool:
    """Whether sessions are in signed cookies, which the server can neither read nor end."""
    return issubclass(_store_class(), signed_cookies.SessionStore)


def waits_for_commit() -> bool:
    """Whether a change of a session counts only after the commit of its request's transaction.

    A database can roll it back, also that of a site's own engine, and a cookie goes out with the
    response. A cache or a folder has it at once.
    """
    return not issubclass(_store_class(), (cache.SessionStore, file.SessionStore))


def name_of(key: str, data: Mapping[str, Any]) -> str:
    """The name of a session in control messages, from which its key cannot be guessed.

    A signed cookie changes whenever its session does, so such a session holds a name of its own.
    """
    return str(data.get(NAME_KEY) or sha256(key.encode()).hexdigest())


def expiry_of(store: Any, modified: datetime | None = None) -> float:
    """The time at which the session in ``store``, saved now or then, expires; epoch seconds."""
    return float(store.get_expiry_date(modification=modified or timezone.now()).timestamp())


_HOOKED: Final = "_pm_realtime_hooked"

#: Called with the key and the data that a session had before a change, and its store.
Hook = Callable[[str, Mapping[str, Any], Any], None]


def connect_hooks(*, on_rekey: Hook, on_save: Hook, on_end: Hook) -> None:
    """Have these called when Django changes the session of a logged-in user.

    ``on_rekey``: it got another key, in ``cycle_key`` (a password was changed, a ``SECRET_KEY``
    rotated). ``on_save``: it was saved, for the response that sets its cookie. ``on_end``: it was
    emptied, in ``flush``, which a login as another user calls without a signal. Django has no
    signals for these, so the methods of its session store are replaced. A process that cannot
    import the engine changes no session.
    """
    try:
        store = _store_class()
    except ENGINE_ERRORS:
        return
    _hook(store, "cycle_key", on_rekey)
    _hook(store, "save", on_save)
    # In signed cookies `asave` calls `save`, and `acycle_key` calls `cycle_key`.
    if not issubclass(store, signed_cookies.SessionStore):
        _hook(store, "acycle_key", on_rekey)
        _hook(store, "asave", on_save)
    _hook(store, "flush", on_end)
    _hook(store, "aflush", on_end)


def _hook(store: Any, name: str, hook: Hook) -> None:
    """Replace a method. The data is read before it: afterwards the user is not known."""
    original = getattr(store, name)
    if hasattr(original, _HOOKED):
        return

    @wraps(original)
    def hooked(self: Any, *args: Any, **kwargs: Any) -> Any:
        key = "" if _creates(args, kwargs) else self.session_key
        data = dict(self._session) if key else {}
        if are_in_cookies() and SESSION_KEY in data:
            # It keeps its name, also if its login came before this app was installed.
            self._session.setdefault(NAME_KEY, name_of(key, data))
        result = original(self, *args, **kwargs)
        if SESSION_KEY in data:
            hook(key, data, self)
        return result

    @wraps(original)
    async def async_hooked(self: Any, *args: Any, **kwargs: Any) -> Any:
        key = "" if _creates(args, kwargs) else self.session_key
        data = dict(await self._aget_session()) if key else {}
        result = await original(self, *args, **kwargs)
        if SESSION_KEY in data:
            hook(key, data, self)
        return result

    replacement = async_hooked if iscoroutinefunction(original) else hooked
    setattr(replacement, _HOOKED, True)
    setattr(store, name, replacement)


def _creates(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether these arguments of ``save`` are for a session that is not there yet.

    Reading one costs a query, and some engines create a session where they find none.
    """
    return bool(kwargs.get("must_create", args[:1] == (True,)))


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
        # Not with `load`, which finds nothing in a cache that is away.
        for name, data in store_class()._cache.get_many(prefixed).items():
            store = store_class(prefixed[name])
            store._session_cache = data
            yield _cached_session(prefixed[name], data, store)


def _read_one(store: Any, key: str) -> Session | None:
    # An engine that finds nothing, or an expired session, would begin a new one.
    store.create = store.delete = lambda *args: None
    data = store.load()
    if not data:
        _raise_if_away(store, key)
    if SESSION_KEY not in data:
        return None
    store._session_cache = data
    if isinstance(store, file.SessionStore):
        try:
            modified = store._last_modification()  # type: ignore[attr-defined]
        except FileNotFoundError:
            return None
        return _session(key, data, expiry_of(store, modified))
    if isinstance(store, signed_cookies.SessionStore):
        return _session(key, data, _cookie_expiry(store, key))
    return _cached_session(key, data, store)


def _raise_if_away(store: Any, key: str) -> None:
    """Raise the error of an engine that finds nothing because it cannot read.

    A cache that is away, or a file that cannot be opened, must not log users out.
    """
    if isinstance(store, cache.SessionStore):
        with suppress(InvalidCacheKey):
            store._cache.get(f"{store.cache_key_prefix}{key}")  # type: ignore[attr-defined]
    elif isinstance(store, file.SessionStore):
        with suppress(FileNotFoundError, SuspiciousOperation):
            path = Path(store._key_to_file(key))  # type: ignore[attr-defined]
            if len(path.name) <= MAX_FILE_NAME_BYTES:
                path.open().close()


def _session(
    key: str, data: Any, expires_at: float, recheck_at: float = math.inf
) -> Session | None:
    if SESSION_KEY not in data:
        return None
    auth = {name: data[name] for name in _AUTH_KEYS if name in data}
    return Session(key, name_of(key, data), auth, expires_at, min(expires_at, recheck_at))


def _cookie_expiry(store: Any, key: str) -> float:
    """A cookie has the second of its signature, and Django accepts none that is too old."""
    signed = datetime.fromtimestamp(signing.b62_decode(key.rsplit(":", 2)[1]), UTC)
    oldest = signed + timedelta(seconds=store.get_session_cookie_age())
    return min(expiry_of(store, signed + SIGNATURE_ROUNDING), oldest.timestamp())


def _cached_session(key: str, data: Any, store: Any) -> Session | None:
    now, end = time.time(), expiry_of(store)
    is_short = end - now < SHORT_SESSION_SECONDS
    return _session(key, data, end, now + CACHED_SESSION_SECONDS if is_short else end)
