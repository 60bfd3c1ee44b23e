"""The Lua scripts that decide inside Redis; ``lua/common.lua`` describes the keys."""

from importlib.resources import files
from typing import Final

_FOLDER: Final = files(__package__) / "lua"
_COMMON: Final = (_FOLDER / "common.lua").read_text()


def _load(name: str) -> str:
    return _COMMON + (_FOLDER / f"{name}.lua").read_text()


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
