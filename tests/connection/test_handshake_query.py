"""The query of a handshake."""

import pytest

from pm_realtime.connection.handshake import Query, read_query
from pm_realtime.hub import ResumePosition

NO_POSITION = ResumePosition("", 0)


@pytest.mark.parametrize(
    ("query", "position"),
    [
        (b"", None),
        (b"a=b", None),
        (b"presume=x,1", None),
        (b"resume=", NO_POSITION),
        (b"a=b&resume=", NO_POSITION),
        (b"resume=abc,12", ResumePosition("abc", 12)),
        (b"resume=abc%2C12&a=b", ResumePosition("abc", 12)),
        (b"resume=x,1&resume=abc,12", ResumePosition("abc", 12)),
        *((b"resume=" + bad, NO_POSITION) for bad in (b"abc", b"abc,", b"abc,-1", b"abc,x")),
        (b"resume=abc," + b"9" * 5000, NO_POSITION),
        ("resume=abc,²".encode(), NO_POSITION),
    ],
)
def test_query_may_name_a_resume_position(query, position):
    assert read_query(query) == Query(position)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"who=", Query(None, True)),
        (b"a=b&who=1", Query(None, True)),
        (b"who=&resume=", Query(NO_POSITION, True)),
        (b"resume=abc,1&who=", Query(ResumePosition("abc", 1), True)),
        (b"nowho=1", Query()),
        (b"who", Query()),
        (b"a=who%3D", Query()),
    ],
)
def test_query_may_ask_for_the_identity(query, expected):
    assert read_query(query) == expected
