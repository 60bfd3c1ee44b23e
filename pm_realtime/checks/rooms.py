"""Checks of ``ROOMS`` and ``DEFAULT_ROOM``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured

from pm_realtime.checks.hints import check_callable, did_you_mean
from pm_realtime.conf import conf
from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import check_room
from pm_realtime.rooms import OPTION_NAMES, SERVER, is_route, parse_route


def check_rooms(roles: Sequence[str]) -> Iterator[CheckMessage]:
    for name, options in conf.ROOMS.items():
        where = f'PM_REALTIME["ROOMS"][{name!r}]'
        yield from _check_name(name, where)
        yield from check_options(options, where, roles)


def _check_name(name: object, where: str) -> Iterator[CheckMessage]:
    if not isinstance(name, str) or not name:
        problem = f"expected the name of a room as text, got {name!r} ({type(name).__name__})."
        hint = "Rooms are named by text, such as 'support' or 'project:<int:pk>'."
    elif is_route(name):
        try:
            parse_route(name)
        except ImproperlyConfigured as error:
            problem = f"expected a Django route, got one that does not parse ({error})."
            hint = "Write it like the first argument of path(): 'project:<int:pk>'."
        else:
            return
    else:
        try:
            check_room(name)
        except CommandError as error:
            problem = f"no client can join it. {error.message}"
            hint = "Give the room a shorter name of printable characters."
        else:
            return
    yield Error(f"{where}: {problem}", hint=hint, id="pm_realtime.E006")


def check_options(options: object, where: str, roles: Sequence[str]) -> Iterator[CheckMessage]:
    if not isinstance(options, Mapping):
        yield Error(
            f"{where} must be a dict of room options, got {options!r} ({type(options).__name__}).",
            hint=f"Options are: {', '.join(OPTION_NAMES)}.",
            id="pm_realtime.E010",
        )
        return
    for option, value in options.items():
        if option not in OPTION_NAMES:
            yield Error(
                f"{where}[{option!r}] is not a room option.",
                hint=did_you_mean(option, list(OPTION_NAMES)),
                id="pm_realtime.E009",
            )
        else:
            yield from _check_option(option, value, f"{where}[{option!r}]", roles)
    if options.get("public") is True and options.get("min_role") is not None:
        yield CheckWarning(
            f"{where} is public and has a min_role: anonymous users join, lower roles do not.",
            hint="Keep one of the two.",
            id="pm_realtime.W006",
        )


def _check_option(
    option: str, value: Any, where: str, roles: Sequence[str]
) -> Iterator[CheckMessage]:
    expected = ""
    if option in ("min_role", "publish_role"):
        names = (*roles, *([SERVER] if option == "publish_role" else []))
        if value is not None and value not in names:
            yield Error(
                f"{where}: expected one of {', '.join(names)}, got {value!r}.",
                hint='Add the role to PM_REALTIME["ROLES"], or name one that is there.',
                id="pm_realtime.E004",
            )
    elif option == "public" and not isinstance(value, bool):
        expected = "True or False"
    elif option == "max_connections" and value is not None:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            expected = "a whole number of at least 1, or None"
    elif option == "authorize" and value is not None:
        if isinstance(value, str):
            yield from check_callable(value, where, "E008")
        else:
            expected = "a dotted path as text, or None"
    if expected:
        yield Error(
            f"{where} must be {expected}, got {value!r} ({type(value).__name__}).",
            hint="Leave the option out for its default.",
            id="pm_realtime.E010",
        )
