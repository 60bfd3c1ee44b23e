"""A simple model of a presence store, and random histories to compare a store with it."""

import json
import sys

from hypothesis import strategies as st

from pm_realtime.backends import Profile

ROOM = "room"
GRACE_SECONDS = 10
OTHER_GRACE_SECONDS = 4
#: By connection: the key of its member.
KEYS = {"a": "ann", "b": "ann", "c": "ann", "d": "bob"}
_CONNECTIONS = st.sampled_from(sorted(KEYS))
_MEMBERS = st.sampled_from(sorted(set(KEYS.values())))


def histories(*, has_time):
    """Lists of steps: names of methods of :class:`Model`, with their arguments."""
    graces = (GRACE_SECONDS, OTHER_GRACE_SECONDS) if has_time else (GRACE_SECONDS,)
    ttls = (None, 3, 12) if has_time else (None, 3000)
    enter = st.tuples(
        st.just("enter"),
        _CONNECTIONS,
        st.sampled_from(["x", "y"]),
        st.sampled_from(graces),
        st.sets(_CONNECTIONS, max_size=2),
    )
    leave = st.tuples(st.just("leave"), _CONNECTIONS, st.booleans())
    set_profile = st.tuples(st.just("set_profile"), _CONNECTIONS, st.sampled_from(["x", "y"]))
    set_state = st.tuples(
        st.just("set_state"),
        _MEMBERS,
        st.sampled_from([None, "[1]", "[2]"]),
        st.sampled_from(ttls),
    )
    steps = [enter, enter, enter, leave, leave, set_profile, set_state]
    if has_time:
        steps.append(st.tuples(st.just("wait"), st.integers(1, 7)))
    return st.lists(st.one_of(steps), min_size=10, max_size=40)


class Model:
    """Whole seconds, dicts, and a look at everybody."""

    def __init__(self):
        self.now = 0
        self.members = {}

    def enter(self, connection, name, grace, former):
        key = KEYS[connection]
        has_arrived = key not in self.members
        member = self.members.setdefault(
            key, {"open": set(), "shown": 0, "state": None, "ends": None, "state_ends": None}
        )
        member["open"] -= former
        member["open"].add(connection)
        member["shown"] = max(member["shown"], len(member["open"]))
        member |= {"name": name, "grace": grace}
        return has_arrived

    def leave(self, connection, is_at_once):
        key = KEYS[connection]
        member = self.members.get(key)
        if member is None or connection not in member["open"]:
            return None
        member["open"].remove(connection)
        if not is_at_once:
            member["ends"] = max(member["ends"] or 0, self.now + member["grace"])
            return None
        member["shown"] = max(len(member["open"]), member["shown"] - 1)
        return self._depart_if_empty(key)

    def set_profile(self, connection, name):
        member = self.members.get(KEYS[connection])
        if member is not None and connection in member["open"]:
            member["name"] = name

    def set_state(self, key, state, ttl):
        member = self.members.get(key)
        if member is None:
            return False
        ends = None if state is None or ttl is None else self.now + ttl
        member |= {"state": state, "state_ends": ends}
        return True

    def wait(self, seconds):
        """The keys that depart."""
        self.now += seconds
        departed = []
        for key, member in list(self.members.items()):
            if member["state_ends"] is not None and member["state_ends"] <= self.now:
                member |= {"state": None, "state_ends": None}
            if member["ends"] is not None and member["ends"] <= self.now:
                member |= {"ends": None, "shown": len(member["open"])}
                departed.append(self._depart_if_empty(key))
        return sorted(filter(None, departed))

    def _depart_if_empty(self, key):
        if self.members[key]["open"]:
            return None
        del self.members[key]
        return key

    def picture(self):
        return {
            key: (member["name"], member["shown"], member["state"])
            for key, member in self.members.items()
        }


class Subject:
    """A store with the methods of :class:`Model`. Its two processes take turns.

    Each has connections of its own, as it has on a site.
    """

    def __init__(self, store, others, pass_time=None):
        self._stores = [store, others]
        self._of = {connection: self._stores[n % 2] for n, connection in enumerate(KEYS)}
        self._pass_time = pass_time

    @property
    def store(self):
        self._stores.reverse()
        return self._stores[0]

    async def enter(self, connection, name, grace, former):
        entry = await self._of[connection].enter(
            connection, ROOM, _profile(connection, name), grace_seconds=grace, former_ids=former
        )
        return entry.has_arrived

    async def leave(self, connection, is_at_once):
        _, departure = await self._of[connection].leave(connection, ROOM, is_at_once=is_at_once)
        return departure and departure.key

    async def set_profile(self, connection, name):
        profile = _profile(connection, name)
        await self._of[connection].set_profile(connection, ROOM, profile)

    async def set_state(self, key, state, ttl):
        return await self.store.set_state(ROOM, key, state, ttl) is not None

    async def wait(self, seconds):
        await self._pass_time(seconds)
        return sorted([departure.key for departure in (await self.store.sweep()).departures])


async def replay(history, store, others, pass_time=None):
    """Compare the store with the model after each step, as a new reader and as one from before."""
    await store.forget_all()
    model, subject, reader = Model(), Subject(store, others, pass_time), _Reader()
    for name, *arguments in history:
        expected = getattr(model, name)(*arguments)
        before = model.picture()
        assert await getattr(subject, name)(*arguments) == expected
        new_reader = _Reader()
        await new_reader.read(subject.store)
        assert new_reader.members == before
        await reader.read(subject.store)
        assert reader.members == before


class _Reader:
    """The picture of a process that reads what has changed since it read."""

    def __init__(self):
        self.mark = None
        self.members = {}

    async def read(self, store):
        picture = await store.read(ROOM, self.mark, sys.maxsize)
        if self.mark is None or picture.is_whole:
            self.members = {}
        for key in picture.left:
            self.members.pop(key, None)
        for member in picture.members:
            name = json.loads(member.profile.text)["info"]["name"]
            self.members[member.profile.key] = (name, member.connections, member.state)
        self.mark = picture.mark
        assert picture.total == len(self.members)


def _profile(connection, name):
    key = KEYS[connection]
    text = json.dumps({"userId": key, "info": {"name": name}})
    return Profile(key=key, user_id=key, text=text)
