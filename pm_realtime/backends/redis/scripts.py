"""The Lua scripts that decide inside Redis.

``lua/common.lua`` describes the keys of the state, ``lua/streams.lua`` those of streams,
``lua/results.lua`` those of results and ``lua/presence.lua`` those of presence.
"""

from importlib.resources import files
from typing import Final

_FOLDER: Final = files(__package__) / "lua"


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text()


_STATE: Final = _read("common")
_STREAMS: Final = _read("streams")
_RESULTS: Final = _read("results")
_PRESENCE: Final = _read("presence")


def _load(name: str, common: str = _STATE) -> str:
    return common + _read(name)


RENEW: Final = _load("renew")
WRITE: Final = _load("write")
RELEASE: Final = _load("release")
ADD: Final = _load("add")
REMOVE: Final = _load("remove")
SET_RECORD: Final = _load("set_record")
JOIN: Final = _load("join")
LEAVE: Final = _load("leave")
GET_CONNECTION: Final = _load("get_connection")
GET_USER_CONNECTIONS: Final = _load("get_user_connections")
GET_STATS: Final = _load("get_stats")
GET_ROLE_COUNTS: Final = _load("get_role_counts")

PUBLISH: Final = _load("publish", _STREAMS)
GET_TOPS: Final = _load("get_tops", _STREAMS)
READ: Final = _load("read", _STREAMS)
FIND_START: Final = _load("find_start", _STREAMS)
COUNT_TOPS: Final = _load("count_tops", _STREAMS)
FORGET: Final = _load("forget", _STREAMS)

CLAIM: Final = _load("claim", _RESULTS)
KEEP: Final = _load("keep", _RESULTS)
GIVE_UP: Final = _load("give_up", _RESULTS)
RENEW_CLAIMS: Final = _load("renew_claims", _RESULTS)

PRESENCE_BEGIN: Final = _load("presence_begin", _PRESENCE)
PRESENCE_FIELDS: Final = _load("presence_fields", _PRESENCE)
PRESENCE_RESTORE: Final = _load("presence_restore", _PRESENCE)
PRESENCE_DROP: Final = _load("presence_drop", _PRESENCE)
PRESENCE_RENEW: Final = _load("presence_renew", _PRESENCE)
PRESENCE_RELEASE: Final = _load("presence_release", _PRESENCE)
PRESENCE_ENTER: Final = _load("presence_enter", _PRESENCE)
PRESENCE_LEAVE: Final = _load("presence_leave", _PRESENCE)
PRESENCE_SET_PROFILE: Final = _load("presence_set_profile", _PRESENCE)
PRESENCE_SET_STATE: Final = _load("presence_set_state", _PRESENCE)
PRESENCE_READ: Final = _load("presence_read", _PRESENCE)
PRESENCE_CHECK: Final = _load("presence_check", _PRESENCE)
PRESENCE_FIND_KEYS: Final = _load("presence_find_keys", _PRESENCE)
PRESENCE_FIND_KEY: Final = _load("presence_find_key", _PRESENCE)
PRESENCE_SWEEP: Final = _load("presence_sweep", _PRESENCE)
PRESENCE_BURY: Final = _load("presence_bury", _PRESENCE)
