"""The commands that a site has declared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pm_realtime.schemas import PayloadType

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_TIMEOUT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One command of the site: the arguments of :func:`command`, and what its function expects."""

    type: str
    function: Callable[..., Any]
    #: A room's name or a route; None for a command that is about the user.
    room: str | None = None
    joined: bool = True
    min_role: str | None = None
    public: bool = False
    rate: str | None = None
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    #: For a sync function: the alias of the database of its transaction; None: there is none.
    database: str | None = "default"
    is_async: bool = False
    #: None: the function takes no payload.
    payload: PayloadType | None = None
    result: PayloadType | None = None
    #: Why the command cannot be called; empty if it can.
    faults: list[Any] = field(default_factory=list, compare=False)

    def match(self, room: str) -> Mapping[str, Any] | None:
        """The values that the route captures in the name ``room``; None if it does not fit."""
        raise NotImplementedError


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
    atomic: bool | str = True,
) -> Callable[[F], F]:
    """Register a function as the handler of the command ``type``."""
    raise NotImplementedError
