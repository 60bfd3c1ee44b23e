"""Checks of ``PM_REALTIME``."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from pm_realtime.checks.backend import check_backend, check_memory
from pm_realtime.checks.hints import check_callable, did_you_mean
from pm_realtime.checks.rooms import check_options, check_rooms
from pm_realtime.checks.streams import check_streams
from pm_realtime.conf import ANONYMOUS, SERVER, Conf, conf, parse_rate
from pm_realtime.connection import is_pattern

_RATES: Final = ("RATE_LIMIT", "CONNECT_RATE_PER_ADDRESS", "CONNECT_RATE_PER_USER")
#: Settings of earlier versions, and the sentence about each one's successor.
_REMOVED: Final = {
    "RESUME_PERIOD": (
        "Use RECOVERY_PERIOD, the number of seconds for which a client that comes back gets what "
        "it missed, from any process. Its default is 60."
    ),
}


def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Every mistake in ``PM_REALTIME`` at once."""
    found = getattr(settings, "PM_REALTIME", {})
    if not isinstance(found, Mapping):
        return [
            Error(
                f"PM_REALTIME must be a dict, got {found!r} ({type(found).__name__}).",
                hint="Write PM_REALTIME = {...}, or leave it out for the defaults.",
                id="pm_realtime.E001",
            )
        ]
    known = Conf.settings()
    broken = {name for name in known if name in found and not known[name].is_valid(found[name])}
    messages = [*_check_keys(found, broken), *_check_rates(found)]
    if "ROLE_RESOLVER" not in broken:
        messages += check_callable(conf.ROLE_RESOLVER, 'PM_REALTIME["ROLE_RESOLVER"]', "E007")
    if "NAME_RESOLVER" not in broken and conf.NAME_RESOLVER is not None:
        messages += check_callable(conf.NAME_RESOLVER, 'PM_REALTIME["NAME_RESOLVER"]', "E020")
    if "ALLOWED_ORIGINS" not in broken:
        messages += _check_origins()
    if "RIGHTS_IGNORE" in found and "RIGHTS_IGNORE" not in broken:
        messages += _check_ignored()
    messages += check_streams(broken)
    if not {"BACKEND", "CHANNEL_LAYER"} & broken:
        messages += check_backend()
    if not {"BACKEND", "CHANNEL_LAYER", "LOCATION"} & broken:
        messages += check_memory()
    roles = _possible_roles(found) if "ROLES" in broken else tuple(conf.ROLES)
    for name, meaning in ((SERVER, "server code"), (ANONYMOUS, "everybody")):
        if name in roles:
            messages.append(
                Error(
                    f'PM_REALTIME["ROLES"]: {name!r} is no name for a role.',
                    hint=f'As a publish_role, "{name}" stands for {meaning}. Choose another name.',
                    id="pm_realtime.E014",
                )
            )
    if "ROOMS" not in broken:
        messages += check_rooms(roles)
    if "DEFAULT_ROOM" not in broken and conf.DEFAULT_ROOM is not None:
        messages += check_options(conf.DEFAULT_ROOM, 'PM_REALTIME["DEFAULT_ROOM"]', roles)
    return messages


def _check_keys(found: Mapping[Any, Any], broken: set[str]) -> Iterator[CheckMessage]:
    known = Conf.settings()
    for key, value in found.items():
        if key in _REMOVED:
            yield Error(
                f"PM_REALTIME[{key!r}] has no effect any more.",
                hint=_REMOVED[key],
                id="pm_realtime.E028",
            )
        elif key not in known:
            yield Error(
                f"PM_REALTIME[{key!r}] is not a setting of pm_realtime.",
                hint=did_you_mean(key, list(known)),
                id="pm_realtime.E002",
            )
        elif key in broken and not (key in _RATES and isinstance(value, str)):
            yield Error(
                known[key].describe(value),
                hint=f"The default is {known[key].default!r}; leave the key out to use it.",
                id="pm_realtime.E003",
            )


def _check_rates(found: Mapping[Any, Any]) -> Iterator[CheckMessage]:
    for name in _RATES:
        try:
            if isinstance(rate := found.get(name), str):
                parse_rate(rate)
        except ValueError as error:
            yield Error(
                f'PM_REALTIME["{name}"]: {error}.',
                hint="Write a count and a unit, as in '60/m', '5/s' or '1000/h'; "
                "None for no limit.",
                id="pm_realtime.E005",
            )


def _check_origins() -> Iterator[CheckMessage]:
    for origin in conf.ALLOWED_ORIGINS or ():
        if not is_pattern(origin):
            yield Error(
                f'PM_REALTIME["ALLOWED_ORIGINS"]: expected scheme and host, got {origin!r}.',
                hint=_hint_for_origin(origin),
                id="pm_realtime.E012",
            )


def _check_ignored() -> Iterator[CheckMessage]:
    try:
        fields = get_user_model()._meta.get_fields()
    except ImproperlyConfigured:
        return
    known = [name for field in fields for name in (field.name, getattr(field, "attname", ""))]
    for name in conf.RIGHTS_IGNORE:
        if name not in known:
            yield Error(
                f'PM_REALTIME["RIGHTS_IGNORE"]: the user model has no field {name!r}.',
                hint=did_you_mean(name, [field.name for field in fields]),
                id="pm_realtime.E026",
            )


def _hint_for_origin(origin: str) -> str:
    if origin.lower() == "null":
        return "Any site can make a page of the origin 'null', so it cannot be let in by itself."
    host = re.sub(r"^(\w*:)?/*", "", origin).partition("/")[0]
    scheme = "http" if origin.startswith(("http:", "ws:")) else "https"
    suggestion = f"{scheme}://{re.sub(r'^[*]?[.]', '*.', host)}"
    if host and is_pattern(suggestion):
        return f"Did you mean {suggestion!r}?"
    return "Write 'https://example.com', 'https://*.example.com' or '*', with no path."


def _possible_roles(found: Mapping[Any, Any]) -> tuple[str, ...]:
    """The default roles and every string in an invalid ``ROLES``."""
    roles = found["ROLES"]
    values = roles if isinstance(roles, list | tuple | set) else [roles]
    names = (value for value in values if isinstance(value, str))
    return tuple(dict.fromkeys([*Conf.ROLES.default, *names]))
