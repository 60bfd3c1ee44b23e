"""Names of rooms, users, roles and connections as group names, valid in every channel layer.

Layers allow ASCII letters, digits, hyphens, underscores and periods, under 100 characters; a room
may be called anything. So a group is a kind and a hash, never the name itself.

Pub/sub knows no databases: a channel of Redis has the same name in all of them. So the hash has a
key, made of the numbers of the databases and of ``NAMESPACE``. A site in database 0 without a
namespace has no key, and the names of version 0.1.
"""

from hashlib import blake2b
from typing import Any, Final, NamedTuple

from django.core.signals import setting_changed

from pm_realtime.conf import conf
from pm_realtime.layer.selection import separate_databases

_KEY_BYTES: Final = 16


class _Site(NamedTuple):
    key: bytes
    authenticated: str
    control: str


_site: _Site | None = None


def room_group(room: str) -> str:
    return _group("room", room)


def user_group(user_key: str) -> str:
    return _group("user", user_key)


def role_group(role: str) -> str:
    """The group of every connection whose role is ``role`` or a higher one."""
    return _group("role", role)


def connection_group(connection_id: str) -> str:
    return _group("connection", connection_id)


def authenticated_group() -> str:
    """The group of every connection of a logged-in user."""
    return (_site or _read_site()).authenticated


def control_group() -> str:
    """The group of every process, for control messages that joining connections must get too."""
    return (_site or _read_site()).control


def _group(kind: str, name: str) -> str:
    key = (_site or _read_site()).key
    digest = blake2b(name.encode(errors="surrogatepass"), digest_size=16, key=key).hexdigest()
    return f"pm_realtime.{kind}.{digest}"


def probe_group(channel: str, number: int) -> str:
    """The ``number``-th group through which the hub behind ``channel`` sends itself probes."""
    return _group("probe", f"{channel} {number}")


def namespace_tag() -> str:
    """``NAMESPACE`` as a part of a key; empty if there is none."""
    namespace = str.encode(conf.NAMESPACE, errors="surrogatepass")
    return blake2b(namespace, digest_size=_KEY_BYTES).hexdigest() if namespace else ""


def _read_site() -> _Site:
    """Read the settings, once and not for each message."""
    global _site
    namespace, databases = namespace_tag(), separate_databases()
    if not namespace and not any(databases):
        _site = _Site(b"", "pm_realtime.authenticated", "pm_realtime.orders")
    else:
        text = f"{namespace} {' '.join(map(str, databases))}"
        key = blake2b(text.encode(), digest_size=_KEY_BYTES).digest()
        suffix = key.hex()
        _site = _Site(key, f"pm_realtime.authenticated.{suffix}", f"pm_realtime.orders.{suffix}")
    return _site


def _reset(*, setting: str, **kwargs: Any) -> None:
    global _site
    if setting in ("PM_REALTIME", "CHANNEL_LAYERS"):
        _site = None


setting_changed.connect(_reset, dispatch_uid="pm_realtime.groups")
