"""The members of a room as a client knows them, kept by the rule of clients."""

import time
from typing import NamedTuple

FIELDS = {"room", "rev", "prev", "total", "joined", "updated", "left", "members"}
MEMBER_FIELDS = {"key", "userId", "info", "since", "connections", "state"}


class Event(NamedTuple):
    """A member has come, changed or gone between two times, or all of that ("visit").

    ``since`` is before ``at`` if its client may have missed messages since then.
    """

    since: float
    at: float
    kind: str
    key: str


class Picture:
    """``faults`` are the parts of messages that differ from what was promised."""

    def __init__(self, room):
        self.room = room
        self.rev = None
        self.total = 0
        #: By key; None while members are not told.
        self.members = None
        self.me = None
        self.events = []
        self.faults = []
        #: Messages whose ``prev`` is later than the picture.
        self.holes = 0
        #: The server's times (ms) of the messages of each subscription.
        self.told_at = []
        #: Since when nothing may have come, None while messages come.
        self._lost_at = time.time()
        #: Whether the next message is the first one after a picture. That has what was read, and
        #: the message what has changed since the others were told.
        self._is_new = True

    def begin(self, payload):
        """The picture in ``subscribed``."""
        self.told_at.append([])
        self.me = payload.get("me")
        self.answer(payload)

    def answer(self, payload):
        """The picture in ``subscribed``, or in the answer to a question."""
        if self.rev is None or payload["rev"] >= self.rev or self._lost_at is not None:
            self._replace(payload)
        self._lost_at = None
        self._is_new = True

    def end(self, at):
        """No more messages come, from ``at`` on."""
        if self._lost_at is None:
            self._lost_at = at

    def leave(self):
        """The client has left the room: it knows nothing."""
        self.rev, self.members, self.total, self.me = None, None, 0, None

    def take(self, payload, timestamp):
        """A message of the server. True if the client must ask for the picture."""
        self.told_at[-1].append(timestamp)
        self._check(payload)
        prev, rev = payload["prev"], payload["rev"]
        if rev <= self.rev:
            return False
        if prev > self.rev:
            self.holes += 1
            self.end(time.time())
            return True
        if "members" in payload:
            self._replace(payload)
        elif "joined" in payload:
            self._apply(payload, is_exact=prev == self.rev and not self._is_new)
        else:
            self.members, self.total, self.rev = None, payload["total"], rev
        self._is_new = False
        return False

    def _replace(self, payload):
        before = self.members
        self.rev, self.total = payload["rev"], payload["total"]
        if "members" not in payload:
            self.members = None
            return
        self.members = {member["key"]: member for member in payload["members"]}
        self._check_members(payload["members"])
        if len(self.members) != self.total:
            self._fault("total of a whole picture", payload)
        if before is not None:
            for key in before.keys() - self.members.keys():
                self._note("leave", key)
            for key, member in self.members.items():
                if key not in before:
                    self._note("join", key)
                elif before[key] != member:
                    self._note("update", key)

    def _apply(self, payload, *, is_exact):
        if self.members is None:
            self._fault("changes of members that are not known", payload)
            return
        joined, updated = payload["joined"], payload["updated"]
        self._check_members([*joined, *updated])
        for kind, found in (("join", joined), ("update", updated)):
            for member in found:
                key, before = member["key"], self.members.get(member["key"])
                if is_exact and (before is None) != (kind == "join"):
                    self._fault(f"{kind} of {key}, which was {before}", payload)
                # Between two messages a member may leave and come again, later.
                if before is not None and before["since"] > member["since"]:
                    self._fault(f"since of {key} was {before['since']}", payload)
                self.members[key] = member
                if before is None:
                    self._note("join", key)
                elif before != member:
                    self._note("update", key)
        for key in payload["left"]:
            if self.members.pop(key, None) is not None:
                self._note("leave", key)
            elif is_exact:
                # Only those know it that began meanwhile; the message is the same for all.
                self._note("visit", key)
        self.rev, self.total = payload["rev"], payload["total"]
        if self.total != len(self.members):
            self._fault(f"total after {len(self.members)} members", payload)

    def _check(self, payload):
        if payload.keys() - FIELDS or payload["room"] != self.room:
            self._fault("fields", payload)
        if not (isinstance(payload["rev"], int) and payload["prev"] < payload["rev"]):
            self._fault("revs", payload)
        parts = [
            *(each["key"] for kind in ("joined", "updated") for each in payload.get(kind, ())),
            *payload.get("left", ()),
        ]
        if len(parts) != len(set(parts)):
            self._fault("a member twice", payload)
        if "joined" in payload and not parts:
            self._fault("nothing has changed", payload)

    def _check_members(self, members):
        for member in members:
            if not MEMBER_FIELDS - {"state"} <= member.keys() <= MEMBER_FIELDS:
                self._fault("fields of a member", member)
            if member["connections"] < 1:
                self._fault("connections of a member", member)

    def _note(self, kind, key):
        now = time.time()
        self.events.append(Event(now if self._lost_at is None else self._lost_at, now, kind, key))

    def _fault(self, what, about):
        shown = str(about)
        self.faults.append(f"{self.room}: {what}: {shown[:300]} (rev {self.rev})")
