"""Why a connection has to end or to leave a room, each cause with users of its own."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.integration.client import TIMEOUT, connect
from tests.integration.people import Browser, Socket
from tests.integration.server import Server

#: Lowest first: a group for each cause that takes the group itself away.
ROLES = ("user", "deleted", "renamed", "emptied", "vanished", "editor", "admin", "master")
SETTINGS = {
    "ROLES": ROLES,
    "ROOMS": {
        "support": {"min_role": "deleted"},
        "lobby": {},
        "listed:<int:pk>": {"authorize": "tests.site.rules.by_note"},
    },
    "RATE_LIMIT": None,
}
#: How a cause shows; close codes are the others.
STAYS, FORBIDDEN = "stays", "forbidden"


@dataclass
class Site:
    """Processes on one Valkey and one database: two with sockets, one that only answers requests,
    and one whose sweep comes often."""

    engine: str
    near: Server
    far: Server
    office: Server
    sweeping: Server
    rows: list[tuple[str, str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.turn = asyncio.Lock()
        self.stack = contextlib.AsyncExitStack()
        self.staying: list[Socket] = []
        self.nobody = Browser()

    @property
    def servers(self) -> list[Server]:
        return [self.near, self.far, self.office, self.sweeping]


class Case:
    """A cause with a user of its own, called like it."""

    def __init__(self, site: Site, cause: Any) -> None:
        self.site = site
        self.name = cause.__name__

    async def make(self, username: str | None = None, **query: Any) -> None:
        await self.site.nobody.get(
            self.site.office, "make/", username=username or self.name, **query
        )

    async def log_in(self, **query: Any) -> Browser:
        """A browser of the user with a session of its own."""
        browser = Browser()
        await browser.get(self.site.office, "login/", username=self.name, **query)
        return browser

    async def open(self, server: Server, browser: Browser, *rooms: str) -> Socket:
        connecting = connect(server, browser.cookie, kind=Socket)
        socket = await self.site.stack.enter_async_context(connecting)
        assert socket.user_id is not None, self.name
        for room in rooms:
            await socket.join(room)
        return socket

    async def change(self, name: str, **query: Any) -> float:
        """Do what ``tests.site.accounts`` calls ``name``; when that came to be so."""
        query = {"user": self.name, **query}
        answer = await self.site.nobody.get(self.site.office, f"change/{name}/", **query)
        return answer["at"]

    async def ends(self, code: int, at: float, *sockets: Socket) -> None:
        """All ``sockets`` are closed with ``code``, because of what was so ``at`` that moment."""
        ended = await asyncio.gather(*(socket.ended() for socket in sockets))
        assert {found for found, _ in ended} == {code}, (self.name, ended)
        self.note(str(code), max(moment for _, moment in ended) - at)

    async def follow(self, browser: Browser, servers: Sequence[Server], *sockets: Socket) -> Any:
        """The sockets of a session that was given another key: new ones if they were closed."""
        if self.site.engine == "signed_cookies":
            return sockets
        ended = await asyncio.gather(*(socket.ended() for socket in sockets))
        assert {code for code, _ in ended} == {4013}, (self.name, ended)
        return [await self.open(server, browser) for server in servers]

    async def leaves(self, room: str, at: float, *sockets: Socket) -> None:
        """All ``sockets`` are taken out of ``room`` and stay open."""
        left = await asyncio.gather(*(socket.left(room) for socket in sockets))
        assert {reason for reason, _ in left} == {FORBIDDEN}, (self.name, left)
        self.note(FORBIDDEN, max(moment for _, moment in left) - at)
        for socket in sockets:
            refused = await socket.ask("subscribe", {"room": room})
            assert refused["payload"]["code"] == "FORBIDDEN", (self.name, refused)
        await self.stay(*sockets)

    async def stay(self, *sockets: Socket) -> None:
        """All ``sockets`` are open, and still are when all is over."""
        for socket in sockets:
            assert await socket.is_alive(), (self.name, socket.code)
        self.site.staying += sockets

    def note(self, outcome: str, seconds: float) -> None:
        self.site.rows.append((self.name, outcome, seconds))


# Sessions


async def _ends_its_session(case, ending):
    await case.make()
    mine, other = await case.log_in(), await case.log_in()
    one, two = await case.open(case.site.near, mine), await case.open(case.site.far, mine)
    stays = await case.open(case.site.near, other)
    async with case.site.turn:
        answer = await ending(mine)
        await case.ends(4501, answer["at"], one, two)
    await case.stay(stays)


async def logout(case):
    await _ends_its_session(case, lambda mine: mine.get(case.site.office, "logout/"))


async def alogout(case):
    await _ends_its_session(case, lambda mine: mine.get(case.site.near, "alogout/"))


async def flush(case):
    await _ends_its_session(case, lambda mine: mine.get(case.site.office, "flush/"))


async def login_as_another(case):
    await case.make("somebody else")
    server = case.site.office
    await _ends_its_session(case, lambda mine: mine.get(server, "login/", username="somebody else"))


async def alogin_as_another(case):
    await case.make("some other")
    server = case.site.near
    await _ends_its_session(case, lambda mine: mine.get(server, "alogin/", username="some other"))


async def login_once_more(case):
    await case.make()
    mine = await case.log_in()
    sockets = [await case.open(server, mine) for server in (case.site.near, case.site.far)]
    await mine.get(case.site.office, "login/", username=case.name)
    await mine.get(case.site.near, "alogin/", username=case.name)
    await case.stay(*sockets)
    case.note(STAYS, 0)


async def _changes_the_password(case, server, path):
    await case.make()
    mine, other = await case.log_in(), await case.log_in()
    servers = (case.site.near, case.site.far)
    stay = [await case.open(each, mine) for each in servers]
    end = [await case.open(each, other) for each in servers]
    async with case.site.turn:
        answer = await mine.get(server, path)
        await case.ends(4501, answer["at"], *end)
    stay = await case.follow(mine, servers, *stay)
    for socket in stay:
        assert await socket.is_alive(), (case.name, socket.code)
    assert (await mine.get(case.site.office, "who/"))["name"] == case.name
    assert (await other.get(case.site.office, "who/"))["name"] == ""
    async with case.site.turn:
        answer = await mine.get(case.site.office, "logout/")
        case.name += ", then logout"
        await case.ends(4501, answer["at"], *stay)


async def own_password(case):
    await _changes_the_password(case, case.site.office, "password/")


async def aown_password(case):
    await _changes_the_password(case, case.site.near, "apassword/")


async def own_password_stays(case):
    """The sessions in which passwords were changed, for as long as the rest takes."""
    await case.make()
    mine = await case.log_in()
    servers = (case.site.near, case.site.sweeping)
    sockets = [await case.open(server, mine) for server in servers]
    await mine.get(case.site.office, "password/")
    await case.stay(*await case.follow(mine, servers, *sockets))
    case.note(STAYS, 0)


async def expiry(case):
    await case.make()
    other = await case.log_in()
    stays = await case.open(case.site.near, other)
    async with case.site.turn:
        mine = await case.log_in(age=3)
        ends_at = time.time() + 3
        sockets = [await case.open(server, mine) for server in (case.site.near, case.site.far)]
    await case.ends(4501, ends_at, *sockets)
    await case.stay(stays)


async def renewal(case):
    await case.make()
    async with case.site.turn:
        mine = await case.log_in(age=3)
        sockets = [await case.open(server, mine) for server in (case.site.near, case.site.far)]
        await mine.get(case.site.office, "login/", username=case.name, age=600)
    await case.stay(*sockets)
    case.note(STAYS, 0)


# Users


async def _ends_for_all_sessions(case, code, change):
    await case.make()
    mine, other = await case.log_in(), await case.log_in()
    sockets = [
        await case.open(case.site.near, mine),
        await case.open(case.site.far, mine),
        await case.open(case.site.near, other),
    ]
    async with case.site.turn:
        await case.ends(code, await case.change(change), *sockets)


async def set_password(case):
    await _ends_for_all_sessions(case, 4501, "set_password")


async def deactivate(case):
    await _ends_for_all_sessions(case, 4504, "deactivate")


async def delete(case):
    await _ends_for_all_sessions(case, 4504, "delete")


async def rolled_back(case):
    await case.make(group="editor")
    mine = await case.log_in()
    servers = (case.site.near, case.site.far)
    sockets = [await case.open(server, mine, "support") for server in servers]
    for change in ("deactivate", "delete", "set_password", "clear", "delete_group"):
        await case.change(change, group="editor", vain=1)
    await case.stay(*sockets)
    case.note(STAYS, 0)


# Roles and rules


async def _loses_its_room(case, change, **made):
    await case.make(**made)
    mine = await case.log_in()
    servers = (case.site.near, case.site.far)
    sockets = [await case.open(server, mine, "support", "lobby") for server in servers]
    async with case.site.turn:
        at = await case.change(change, **made)
        await case.leaves("support", at, *sockets)


async def not_superuser(case):
    await _loses_its_room(case, "not_superuser", flag="is_superuser")


async def not_staff(case):
    await _loses_its_room(case, "not_staff", flag="is_staff")


async def remove(case):
    await _loses_its_room(case, "remove", group="editor")


async def remove_reverse(case):
    await _loses_its_room(case, "remove_reverse", group="editor")


async def clear(case):
    await _loses_its_room(case, "clear", group="editor")


async def clear_reverse(case):
    await _loses_its_room(case, "clear_reverse", group="emptied")


async def replace(case):
    await _loses_its_room(case, "replace", group="editor")


async def delete_group(case):
    await _loses_its_room(case, "delete_group", group="deleted")


async def rename_group(case):
    await _loses_its_room(case, "rename_group", group="renamed")


async def _wins_a_room(case, change):
    await case.make()
    mine = await case.log_in()
    servers = (case.site.near, case.site.far)
    sockets = [await case.open(server, mine) for server in servers]
    async with case.site.turn, asyncio.timeout(TIMEOUT):
        at = await case.change(change, group="editor")
        for socket in sockets:
            while (await socket.ask("subscribe", {"room": "support"}))["type"] != "subscribed":
                await asyncio.sleep(0.01)
        case.note("subscribed", time.time() - at)
    await case.stay(*sockets)


async def add(case):
    await _wins_a_room(case, "add")


async def add_reverse(case):
    await _wins_a_room(case, "add_reverse")


async def _is_forbidden_by_rule(case, change):
    await case.make()
    await case.change("permit")
    mine = await case.log_in()
    servers = (case.site.near, case.site.far)
    sockets = [await case.open(server, mine, "listed:1") for server in servers]
    async with case.site.turn:
        await case.leaves("listed:1", await case.change(change), *sockets)


async def refresh_user(case):
    await _is_forbidden_by_rule(case, "forbid_by_user")


async def refresh_room(case):
    await _is_forbidden_by_rule(case, "forbid_by_room")


async def bystander(case):
    """Nothing happens to somebody who has every right, whatever happens to others."""
    await case.make(group="editor")
    await case.change("permit")
    mine = await case.log_in()
    for server in (case.site.near, case.site.far, case.site.sweeping):
        await case.stay(await case.open(server, mine, "support", "lobby", "listed:1"))
    case.note(STAYS, 0)


# What only a sweep finds


async def lost_session(case):
    await case.make()
    mine, other = await case.log_in(), await case.log_in()
    ends, stays = [await case.open(case.site.sweeping, browser) for browser in (mine, other)]
    answer = await case.site.nobody.get(case.site.office, "lose/", key=mine.key)
    await case.ends(4501, answer["at"], ends)
    await case.stay(stays)


async def _is_found_to_end(case, code, change):
    await case.make()
    socket = await case.open(case.site.sweeping, await case.log_in())
    await case.ends(code, await case.change(change), socket)


async def raw_deactivate(case):
    await _is_found_to_end(case, 4504, "raw_deactivate")


async def raw_delete(case):
    await _is_found_to_end(case, 4504, "raw_delete")


async def raw_password(case):
    await _is_found_to_end(case, 4501, "raw_password")


async def _is_found_to_leave(case, change, group):
    await case.make(group=group)
    socket = await case.open(case.site.sweeping, await case.log_in(), "support", "lobby")
    await case.leaves("support", await case.change(change, group=group), socket)


async def raw_delete_group(case):
    await _is_found_to_leave(case, "raw_delete_group", "vanished")


async def raw_leave(case):
    await _is_found_to_leave(case, "raw_leave", "editor")


SIGNALLED = [
    bystander,
    rolled_back,
    expiry,
    renewal,
    login_once_more,
    own_password_stays,
    logout,
    alogout,
    flush,
    login_as_another,
    alogin_as_another,
    own_password,
    aown_password,
    set_password,
    deactivate,
    delete,
    not_superuser,
    not_staff,
    remove,
    remove_reverse,
    clear,
    clear_reverse,
    replace,
    delete_group,
    rename_group,
    add,
    add_reverse,
    refresh_user,
    refresh_room,
]
SWEPT = [lost_session, raw_deactivate, raw_delete, raw_password, raw_delete_group, raw_leave]
