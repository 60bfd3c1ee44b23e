"""Causes that end a connection or take it out of a room. Each has users of its own."""

import asyncio
import time

from tests.integration.cases import STAYS
from tests.integration.client import ANSWER_TIMEOUT_SECONDS

#: The ages of a session that expires during its cause, and of one that does not.
SHORT_AGE_SECONDS = 3
LONG_AGE_SECONDS = 600
POLL_SECONDS = 0.01

# Sessions


async def _ends_its_session(case, ending):
    await case.make()
    mine, other = await case.log_in(), await case.log_in()
    one, two = await case.open(case.site.near, mine), await case.open(case.site.far, mine)
    stays = await case.open(case.site.near, other)
    async with case.site.measuring:
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
    await case.make("another user")
    server = case.site.office
    await _ends_its_session(case, lambda mine: mine.get(server, "login/", username="another user"))


async def alogin_as_another(case):
    await case.make("a third user")
    server = case.site.near
    await _ends_its_session(case, lambda mine: mine.get(server, "alogin/", username="a third user"))


async def login_once_more(case):
    await case.make()
    mine = await case.log_in()
    sockets = [await case.open(server, mine) for server in (case.site.near, case.site.far)]
    await mine.get(case.site.office, "login/", username=case.name)
    await mine.get(case.site.near, "alogin/", username=case.name)
    await case.stay(*sockets)
    case.record(STAYS, 0)


async def _changes_the_password(case, server, path):
    await case.make()
    mine, other = await case.log_in(), await case.log_in()
    servers = (case.site.near, case.site.far)
    stay = [await case.open(each, mine) for each in servers]
    end = [await case.open(each, other) for each in servers]
    async with case.site.measuring:
        answer = await mine.get(server, path)
        await case.ends(4501, answer["at"], *end)
    stay = await case.follow(mine, servers, *stay)
    for socket in stay:
        assert await socket.is_alive(), (case.name, socket.code)
    assert (await mine.get(case.site.office, "user/"))["name"] == case.name
    assert (await other.get(case.site.office, "user/"))["name"] == ""
    async with case.site.measuring:
        answer = await mine.get(case.site.office, "logout/")
        case.name += ", then logout"
        await case.ends(4501, answer["at"], *stay)


async def own_password(case):
    await _changes_the_password(case, case.site.office, "password/")


async def aown_password(case):
    await _changes_the_password(case, case.site.near, "apassword/")


async def own_password_stays(case):
    """A session in which a password was changed has open sockets until the end of the test."""
    await case.make()
    mine = await case.log_in()
    servers = (case.site.near, case.site.sweeping)
    sockets = [await case.open(server, mine) for server in servers]
    await mine.get(case.site.office, "password/")
    await case.stay(*await case.follow(mine, servers, *sockets))
    case.record(STAYS, 0)


async def expiry(case):
    await case.make()
    other = await case.log_in()
    stays = await case.open(case.site.near, other)
    async with case.site.measuring:
        mine = await case.log_in(age=SHORT_AGE_SECONDS)
        ends_at = time.time() + SHORT_AGE_SECONDS
        sockets = [await case.open(server, mine) for server in (case.site.near, case.site.far)]
    await case.ends(4501, ends_at, *sockets)
    await case.stay(stays)


async def renewal(case):
    await case.make()
    async with case.site.measuring:
        mine = await case.log_in(age=SHORT_AGE_SECONDS)
        sockets = [await case.open(server, mine) for server in (case.site.near, case.site.far)]
        await mine.get(case.site.office, "login/", username=case.name, age=LONG_AGE_SECONDS)
    await case.stay(*sockets)
    case.record(STAYS, 0)


# Users


async def _ends_for_all_sessions(case, code, change):
    await case.make()
    mine, other = await case.log_in(), await case.log_in()
    sockets = [
        await case.open(case.site.near, mine),
        await case.open(case.site.far, mine),
        await case.open(case.site.near, other),
    ]
    async with case.site.measuring:
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
        await case.change(change, group="editor", rollback=1)
    await case.stay(*sockets)
    case.record(STAYS, 0)


# Roles and rules


async def _loses_its_room(case, change, **made):
    await case.make(**made)
    mine = await case.log_in()
    servers = (case.site.near, case.site.far)
    sockets = [await case.open(server, mine, "support", "lobby") for server in servers]
    async with case.site.measuring:
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


async def _gets_a_room(case, change):
    await case.make()
    mine = await case.log_in()
    servers = (case.site.near, case.site.far)
    sockets = [await case.open(server, mine) for server in servers]
    async with case.site.measuring, asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
        at = await case.change(change, group="editor")
        for socket in sockets:
            while (await socket.ask("subscribe", {"room": "support"}))["type"] != "subscribed":
                await asyncio.sleep(POLL_SECONDS)
        case.record("subscribed", time.time() - at)
    await case.stay(*sockets)


async def add(case):
    await _gets_a_room(case, "add")


async def add_reverse(case):
    await _gets_a_room(case, "add_reverse")


async def _is_forbidden_by_rule(case, change):
    await case.make()
    await case.change("permit")
    mine = await case.log_in()
    servers = (case.site.near, case.site.far)
    sockets = [await case.open(server, mine, "listed:1") for server in servers]
    async with case.site.measuring:
        await case.leaves("listed:1", await case.change(change), *sockets)


async def refresh_user(case):
    await _is_forbidden_by_rule(case, "forbid_by_user")


async def refresh_room(case):
    await _is_forbidden_by_rule(case, "forbid_by_room")


async def bystander(case):
    """A user with every right keeps all sockets and rooms, whatever happens to other users."""
    await case.make(group="editor")
    await case.change("permit")
    mine = await case.log_in()
    for server in (case.site.near, case.site.far, case.site.sweeping):
        await case.stay(await case.open(server, mine, "support", "lobby", "listed:1"))
    case.record(STAYS, 0)


# Changes without a signal, which only a sweep finds


async def lost_session(case):
    await case.make()
    mine, other = await case.log_in(), await case.log_in()
    ends, stays = [await case.open(case.site.sweeping, browser) for browser in (mine, other)]
    answer = await case.site.anonymous.get(case.site.office, "delete-session/", key=mine.key)
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
