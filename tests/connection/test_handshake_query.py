"""The query of a handshake."""

import json
from urllib.parse import quote

import pytest

from pm_realtime.auth import Identity
from pm_realtime.connection.query import Query, read_query

CURSOR = "1764532800000-000001"


def since(value):
    return b"since=" + quote(value if isinstance(value, str) else json.dumps(value)).encode()


@pytest.mark.parametrize(
    ("query", "resume"),
    [
        (b"", ()),
        (b"a=b", ()),
        (b"presume=x", ()),
        (b"resume=", ()),
        (b"resume", ()),
        (b"a=b&resume=abc", ("abc",)),
        (b"resume=abc%2Cdef&a=b", ("abc", "def")),
        (b"resume=x&resume=abc,,def,", ("abc", "def")),
        (b"resume=1,2,3,4,5,6,7,8,9", tuple("12345678")),
    ],
)
def test_query_may_name_earlier_connections(query, resume):
    assert read_query(query) == Query(resume=resume)


@pytest.mark.parametrize("cursors", [{}, {"user": CURSOR, "all": CURSOR, "role:é": CURSOR}])
def test_query_may_have_cursors(cursors):
    assert read_query(since(cursors)) == Query(since=cursors)
    assert read_query(since(cursors)).wants_recovery


@pytest.mark.parametrize(
    "malformed",
    [
        *("", "x", "{", "[]", "null", "1", '"a"', "[" * 10_000, '{"a":' * 10_000, "\ufffd"),
        *({"user": value} for value in (1, None, "", "yesterday", f"{CURSOR} ", [CURSOR])),
        {"user": CURSOR, "all": "x"},
    ],
)
def test_malformed_cursors_are_none(malformed):
    query = since(malformed)
    assert read_query(query) == Query(is_unusable=True)
    assert read_query(query).wants_recovery


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"who=", Query(asks_who=True)),
        (b"a=b&who=1", Query(asks_who=True)),
        (b"who=&resume=", Query(asks_who=True)),
        (b"resume=abc&who=", Query(resume=("abc",), asks_who=True)),
        (b"nowho=1", Query()),
        (b"who", Query()),
        (b"a=who%3D", Query()),
    ],
)
def test_query_may_ask_for_the_identity(query, expected):
    assert read_query(query) == expected


@pytest.mark.parametrize(
    ("user", "user_id", "is_same"),
    [
        *((None, 7, True), (None, None, True), ("7", 7, True), ("7", "7", True), ("", None, True)),
        *(("7", 8, False), ("7", None, False), ("", 7, False), (" 7", 7, False)),
    ],
)
def test_query_is_about_one_user(user, user_id, is_same):
    parts = {"resume": ("abc",), "since": {"user": CURSOR}, "user": user}
    found = Query(**parts).of(Identity(None, user_id))
    if is_same:
        assert found == Query(**parts)
    else:
        assert found == Query(is_unusable=True, user=user)
        assert not Query(resume=("abc",), user=user).of(Identity(None, user_id)).wants_recovery
