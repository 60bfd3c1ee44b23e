"""Messages of clients in rooms with the options ``content`` and ``on_message``.

The content is converted to its type. The site's function may change it, save it or refuse it, and
it is published after the commit.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS
from django.utils.module_loading import import_string
from msgspec.structs import replace
from orjson import Fragment

from pm_realtime.commands.claims import Claim, digest_of
from pm_realtime.commands.options import DEFAULT_TIMEOUT_SECONDS
from pm_realtime.commands.signatures import is_async
from pm_realtime.commands.site_calls import SiteCall, TimedOut, answer_to, commands_under_way
from pm_realtime.concurrency import note_result
from pm_realtime.conf import Room, RoomOptions
from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import Command, ErrorCode
from pm_realtime.rooms import Connection
from pm_realtime.schemas import InvalidPayload, PayloadType, join_paths, payload_type

#: Publishes a content.
Publish = Callable[[Any], Awaitable[None]]

_ANYTHING: Final = payload_type(Any)
#: By dotted path: the annotation that it named when it was read, and its type.
_types: Final[dict[str, tuple[Any, PayloadType]]] = {}


async def publish_checked(
    connection: Connection,
    command: Command,
    room: Room,
    check_sender: Callable[[], object],
    publish: Publish,
) -> None:
    """Have the message ``command`` checked as the options of ``room`` say, and published.

    ``check_sender`` raises ``CommandError`` if the sender may not send any more. Raises
    ``CommandError`` if the content does not fit or the site refuses.
    """
    try:
        content_type = _content_type(room.options)
        content = _convert(command, room.name, content_type)
        if room.options.on_message is None:
            return await publish(Fragment(content_type.encode(content)))
        function = _import(room.options.on_message, f"{room.options.setting}['on_message']")
    except Exception as error:
        raise answer_to(error, f"The options of {room.name}", room.name) from None
    handled = _HandledMessage(connection, command, room, check_sender, publish)
    await handled.carry_out(function, content, content_type)


@dataclass(slots=True, eq=False)
class _HandledMessage:
    """A message that the site's function gets before the others do."""

    connection: Connection
    command: Command
    room: Room
    check_sender: Callable[[], object]
    publish: Publish
    has_begun: bool = False

    async def carry_out(
        self, function: Callable[..., Any], content: Any, content_type: PayloadType
    ) -> None:
        # In a task of its own: what the site has saved is published, whatever becomes of the
        # connection meanwhile.
        call = self._call(function, content, content_type)
        task = asyncio.get_running_loop().create_task(self._run(call))
        tasks = commands_under_way()
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(note_result)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not self.has_begun:
                task.cancel()
            raise

    def _call(
        self, function: Callable[..., Any], content: Any, content_type: PayloadType
    ) -> SiteCall:
        def call_function() -> Any:
            return function(self._request(), content, **self.room.kwargs)

        def encode(found: Any) -> str:
            return content_type.encode(content if found is None else found)

        must_wait = is_async(function)
        return SiteCall(
            name="The message",
            bound=str(self.room.options.on_message),
            call=call_function,
            encode=encode,
            is_async=must_wait,
            database=None if must_wait else DEFAULT_DB_ALIAS,
            timeout_seconds=DEFAULT_TIMEOUT_SECONDS,
            begin=self._begin,
        )

    def _request(self) -> Command:
        identity = self.connection.identity
        return replace(
            self.command,
            room=self.room.name,
            user=identity.user,
            role=identity.role,
            connection_id=self.connection.connection_id,
        )

    async def _begin(self) -> None:
        await self.connection.until_certain()
        self.check_sender()
        self.has_begun = True

    async def _run(self, call: SiteCall) -> None:
        try:
            if self.command.id:
                await self._run_once(call, self.command.id)
            else:
                await self.publish(Fragment(await call.run()))
        except Exception as error:
            raise answer_to(error, call.bound, self.room.name) from None

    async def _run_once(self, call: SiteCall, id: str) -> None:
        """Call the function once. Its content is published under a key, so once as well: also if
        that failed the first time, after the function had saved something."""
        key = digest_of(self.connection, id, self.room.name, self.command.payload["content"])
        claim = Claim(f"on_message {key}", call.timeout_seconds)

        async def run() -> str:
            call.is_lost = claim.may_be_lost
            return await call.run()

        is_mine, text = await claim.carry_out(run)
        if text is None:
            raise TimedOut(call)
        try:
            await self.publish(Fragment(text))
        finally:
            if is_mine:
                await claim.keep(text)


def _content_type(options: RoomOptions) -> PayloadType:
    """The type in the option ``content``. Raises ``ImproperlyConfigured``."""
    if (path := options.content) is None:
        return _ANYTHING
    annotation = _import(path, f"{options.setting}['content']")
    known = _types.get(path)
    if known is None or known[0] is not annotation:
        try:
            known = _types[path] = (annotation, payload_type(annotation))
        except Exception as error:
            text = f"{options.setting}['content'] cannot be read: {error}"
            raise ImproperlyConfigured(text) from error
    return known[1]


def _import(path: str, setting: str) -> Any:
    try:
        return import_string(path)
    except ImportError as error:
        text = f"{setting}: expected a dotted path, got {path!r} ({error})."
        raise ImproperlyConfigured(text) from error


def _convert(command: Command, room: str, content_type: PayloadType) -> Any:
    """The content as its type says. Raises ``CommandError``."""
    try:
        return content_type.convert(command.payload["content"])
    except InvalidPayload as error:
        path = join_paths("content", error.path)
        code = ErrorCode.INVALID_PAYLOAD
        raise CommandError(code, error.message, room=room, path=path) from None
