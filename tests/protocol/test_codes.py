"""The codes of the protocol."""

import pytest

from pm_realtime.protocol import CloseCode, ErrorCode, may_reconnect


def test_error_codes_are_those_of_the_protocol():
    assert [str(code) for code in ErrorCode] == [
        "PARSE_ERROR",
        "INVALID_MESSAGE",
        "UNKNOWN_TYPE",
        "INVALID_PAYLOAD",
        "INVALID_ROOM",
        "AUTH_REQUIRED",
        "FORBIDDEN",
        "NOT_IN_ROOM",
        "ROOM_LIMIT",
        "ROOM_FULL",
        "RATE_LIMITED",
        "MESSAGE_TOO_LARGE",
        "TIMEOUT",
        "INTERNAL_ERROR",
    ]


def test_only_temporary_errors_may_be_retried():
    assert {code for code in ErrorCode if code.retry} == {
        ErrorCode.ROOM_FULL,
        ErrorCode.RATE_LIMITED,
        ErrorCode.TIMEOUT,
        ErrorCode.INTERNAL_ERROR,
    }


def test_close_codes_are_those_of_the_protocol():
    assert {code.name: int(code) for code in CloseCode} == {
        "HEARTBEAT_LOST": 4001,
        "TOO_SLOW": 4002,
        "RATE_LIMITED": 4003,
        "RESTARTING": 4012,
        "OVERLOADED": 4013,
        "SESSION_ENDED": 4501,
        "REPLACED": 4502,
        "DISCONNECTED": 4503,
        "USER_GONE": 4504,
        "TOO_MANY_CONNECTIONS": 4505,
    }


@pytest.mark.parametrize(
    "code",
    [
        *(1000, 1001, 1004, 1005, 1006, 1011, 1012, 1013, 1014, 1015),
        *(3000, 4000, 4001, 4002, 4003, 4012, 4013, 4499),
    ],
)
def test_client_reconnects_after_code(code):
    assert may_reconnect(code) is True


@pytest.mark.parametrize(
    "code",
    [1002, 1003, 1007, 1008, 1009, 1010, 4500, 4501, 4502, 4503, 4504, 4505, 4999],
)
def test_client_does_not_reconnect_after_code(code):
    assert may_reconnect(code) is False
