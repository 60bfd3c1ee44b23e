"""Results of commands, kept under their keys so that each command is carried out once.

Also the contract of the stores that keep them.
"""

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple


class ClaimState(enum.Enum):
    #: The caller has to carry the command out, and then to call ``keep`` or ``release``.
    TAKEN = "taken"
    #: Another call does so. Claim again after a while.
    RUNNING = "running"
    #: It was carried out.
    DONE = "done"


class Claim(NamedTuple):
    state: ClaimState
    #: The JSON text of the result, if ``state`` is ``DONE``.
    result: str | None = None


class Results(ABC):
    """By key: a command that is being carried out, or its result.

    ``owner`` is a text that is unique for each call that carries out a command. Every method may
    raise :exc:`~pm_realtime.exceptions.BackendError`.
    """

    @abstractmethod
    async def claim(self, key: str, owner: str, ttl_seconds: float) -> Claim:
        """Take ``key``, unless it is taken by another owner whose process is alive, or done.

        Atomic over all processes. A key that is taken stays so for as long as its process lives,
        but for ``ttl_seconds`` at most. The same owner may claim again.
        """

    def watch(self, key: str, owner: str) -> Callable[[], bool]:
        """A function for any thread: whether another may have ``key``, which ``owner`` has taken.

        Here it never has, as no other process knows the key.
        """
        return lambda: False

    @abstractmethod
    async def keep(self, key: str, owner: str, result: str, ttl_seconds: float) -> None:
        """Keep the ``result``, a JSON text, for ``ttl_seconds``; nothing if another has ``key``."""

    @abstractmethod
    async def release(self, key: str, owner: str) -> None:
        """Let the next call carry it out, as after a refusal; nothing if another has ``key``."""

    @abstractmethod
    async def forget_all(self) -> None:
        """Forget all keys. For tests."""
