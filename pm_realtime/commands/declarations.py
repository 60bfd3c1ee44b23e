"""The commands that a site has declared."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.urls.resolvers import RoutePattern

from pm_realtime.commands.options import (
    DEFAULT_TIMEOUT_SECONDS,
    CommandOptions,
    find_option_faults,
    find_role_fault,
)
from pm_realtime.commands.signatures import Signature, innermost, is_async, read_signature
from pm_realtime.conf import Fault, is_route, parse_route
from pm_realtime.schemas import PayloadType

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True, eq=False)
class Declaration(CommandOptions):
    """One command of the site: the arguments of :func:`command`, and what its function expects.

    Annotations are read at the first use, as they may name what is defined later.
    """

    function: Callable[..., Any]
    #: Later declarations of the same type, which is a mistake.
    rivals: list["Declaration"] = field(default_factory=list, repr=False)

    @property
    def declared_in(self) -> str:
        """The dotted path of the function, or of the class of another callable."""
        function = innermost(self.function)
        if not hasattr(function, "__qualname__"):
            function = type(function)
        return f"{function.__module__}.{function.__qualname__}"

    @property
    def doc(self) -> str:
        """The docstring of the function; empty if there is none."""
        return inspect.getdoc(innermost(self.function)) or ""

    @cached_property
    def is_async(self) -> bool:
        return is_async(self.function)

    @cached_property
    def database(self) -> str | None:
        """The alias of the database of its transaction; None: there is none."""
        if self.is_async or self.atomic is False:
            return None
        return self.atomic if isinstance(self.atomic, str) else "default"

    @property
    def payload(self) -> PayloadType | None:
        """The type of the payload. None: the function takes no payload."""
        return self._signature.payload

    @property
    def result(self) -> PayloadType:
        return self._signature.result

    @property
    def faults(self) -> Sequence[Fault]:
        """Why the command cannot be called; empty if it can."""
        fault = None if self.min_role is None else find_role_fault(self.min_role)
        return self._lasting_faults if fault is None else [fault, *self._lasting_faults]

    @cached_property
    def _lasting_faults(self) -> Sequence[Fault]:
        options = find_option_faults(self, is_async=self.is_async)
        return [*options, *self._signature.faults]

    @cached_property
    def _signature(self) -> Signature:
        return read_signature(self.function, self._converters())

    def match(self, room: str) -> Mapping[str, Any] | None:
        """The values that the route captures in the name ``room``; None if it does not fit."""
        pattern = self._pattern
        if pattern is None:
            return {} if room == self.room else None
        found = pattern.match(room)
        return None if found is None else found[2]

    @cached_property
    def _pattern(self) -> RoutePattern | None:
        """The pattern of a route. Raises ``ImproperlyConfigured``; it may parse later."""
        return parse_route(self.room) if self.room is not None and is_route(self.room) else None

    def _converters(self) -> Mapping[str, Any] | None:
        """The converters of the values of the route by their names. None: it does not parse."""
        try:
            pattern = self._pattern
        except (ImproperlyConfigured, TypeError):
            return None  # A fault of the options.
        return {} if pattern is None else pattern.converters


#: By their types, in the order of declaration. Of two of one type, the first counts.
DECLARATIONS: Final[dict[str, Declaration]] = {}


def command(
    type: str,
    *,
    room: str | None = None,
    joined: bool = True,
    min_role: str | None = None,
    public: bool = False,
    rate: str | None = None,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
    atomic: bool | str | None = None,
) -> Callable[[F], F]:
    """Register a function, sync or async, as the handler of the command ``type``.

    The function gets the request, a :class:`~pm_realtime.protocol.Command`, as its first argument,
    the payload as ``payload`` if it has a parameter of that name, converted to its annotation, and
    the values of the route ``room`` by their names. Its result is the payload of the answer.
    :exc:`~pm_realtime.exceptions.CommandError` refuses the command.

    ``room`` is the name of a room or a route: the client has to be in that room, unless ``joined``
    is False. ``min_role`` is the lowest role that may call it; ``public`` lets anonymous
    connections call it. ``rate``, such as ``"10/s"``, counts its calls by sender instead of
    ``RATE_LIMIT``. ``timeout`` is in seconds. A sync function runs in a transaction of the default
    database, or of the one whose alias is ``atomic``; ``atomic=False`` for none.

    Mistakes are errors of the system checks. Until they are mended, the command is refused.
    """

    def register(function: F) -> F:
        declaration = Declaration(
            type=type,
            function=function,
            room=room,
            joined=joined,
            min_role=min_role,
            public=public,
            rate=rate,
            timeout_seconds=timeout,
            atomic=atomic,
        )
        # A type that is no text is a fault; a client cannot call it.
        first = DECLARATIONS.setdefault(type if isinstance(type, str) else repr(type), declaration)
        if first is not declaration:
            first.rivals.append(declaration)
        return function

    if callable(type):  # Written without brackets, which the checks report.
        return register(type)
    return register
