"""Checks of ``ROOMS`` and ``DEFAULT_ROOM``."""

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from pm_realtime.checks.hints import check_callable, did_you_mean
from pm_realtime.conf import OPTION_NAMES, conf, find_faults, has_text, is_route, parse_route
from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import check_room
from pm_realtime.schemas import payload_type


def check_rooms(roles: Sequence[str]) -> Iterator[CheckMessage]:
    for name, options in conf.ROOMS.items():
        where = f'PM_REALTIME["ROOMS"][{name!r}]'
        yield from _check_name(name, where)
        yield from check_options(options, where, roles, _values_of(name))


def _check_name(name: object, where: str) -> Iterator[CheckMessage]:
    if not isinstance(name, str) or not name:
        problem = f"expected the name of a room as text, got {name!r} ({type(name).__name__})."
        hint = "Rooms are named by text, such as 'support' or 'project:<int:pk>'."
    elif is_route(name):
        if not has_text(name) and conf.user_settings.get("DEFAULT_ROOM", {}) is not None:
            yield _warn_of_all(where)
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


def _warn_of_all(where: str) -> CheckMessage:
    return CheckWarning(
        f"{where} has no text beside its values, so DEFAULT_ROOM applies to no room.",
        hint="Begin the route with text, such as 'project:<int:pk>', or set DEFAULT_ROOM to None.",
        id="pm_realtime.W023",
    )


def _values_of(name: object) -> Collection[str]:
    """The names of the values of the route ``name``."""
    try:
        return parse_route(name).converters if isinstance(name, str) and is_route(name) else ()
    except ImproperlyConfigured:
        return ()  # E006 reports it.


def check_options(
    options: object, where: str, roles: Sequence[str], values: Collection[str] = ()
) -> Iterator[CheckMessage]:
    for fault in find_faults(options, where, roles):
        hint = fault.hint or did_you_mean(fault.unknown, list(OPTION_NAMES))
        yield Error(fault.text, hint=hint, id=f"pm_realtime.{fault.number}")
    if not isinstance(options, Mapping):
        return
    if isinstance(path := options.get("authorize"), str):
        yield from check_callable(path, f"{where}['authorize']", "E008")
    if isinstance(path := options.get("on_message"), str):
        about = path, f"{where}['on_message']", "E034"
        usual = f"({', '.join(('request', 'content', *values))})"
        given = dict.fromkeys(values)
        yield from [*check_callable(*about)] or _check_call(*about, usual, None, None, **given)
    if isinstance(path := options.get("content"), str):
        yield from _check_content(path, f"{where}['content']")
    presence = options.get("presence")
    if isinstance(presence, Mapping) and isinstance(path := presence.get("info"), str):
        about = path, f"{where}['presence']['info']", "E038"
        messages = [*check_callable(*about, example="mysite.people.describe")]
        usual = "(users), which returns a dict by pk"
        yield from messages or _check_call(*about, usual, None)
    if options.get("public") is True and options.get("min_role") is not None:
        yield CheckWarning(
            f"{where} is public and has a min_role: anonymous users join, lower roles do not.",
            hint="Keep one of the two.",
            id="pm_realtime.W006",
        )


def _check_call(
    path: str, where: str, number: str, usual: str, /, *arguments: object, **values: object
) -> Iterator[CheckMessage]:
    """Check that the function takes the arguments, as one does that is declared as ``usual``."""
    try:
        inspect.signature(import_string(path)).bind(*arguments, **values)
    except TypeError as error:
        yield Error(
            f"{where}: {path} cannot be called ({error}).",
            hint=f"Write def {path.rpartition('.')[2]}{usual}.",
            id=f"pm_realtime.{number}",
        )
    except ValueError:
        return  # A function written in C does not say what it takes.


def _check_content(path: str, where: str) -> Iterator[CheckMessage]:
    try:
        annotation = import_string(path)
    except Exception as error:
        yield Error(
            f"{where}: expected a dotted path that imports, got {path!r} ({error}).",
            hint="Give the dotted path of a type, such as 'mysite.realtime.Chat'.",
            id="pm_realtime.E034",
        )
        return
    try:
        payload_type(annotation)
    except TypeError as error:
        yield Error(
            f"{where}: the type {path} cannot be read: {str(error).rstrip('.')}.",
            hint="Use types of msgspec or pydantic that are at the top of a module.",
            id="pm_realtime.E032",
        )
