"""Cookies are read from the headers of a handshake, whatever bytes they hold."""

import pytest

from pm_realtime.auth.authentication import cookies


def test_cookies_are_read_by_name():
    assert cookies({"headers": [(b"cookie", b"sessionid=abc; theme=dark")]}) == {
        "sessionid": "abc",
        "theme": "dark",
    }


def test_handshake_without_cookies_has_none():
    assert cookies({"headers": []}) == {}


def test_cookies_of_several_headers_are_all_found():
    headers = [(b"cookie", b"a=1; b=2"), (b"host", b"x"), (b"cookie", b"c=3")]
    assert cookies({"headers": headers}) == {"a": "1", "b": "2", "c": "3"}


@pytest.mark.parametrize("raw", [b"", b";;;", b"\xff\xfe", b"=", b"a", b"a=\x00", b"=;=;" * 100])
def test_no_bytes_in_a_cookie_header_raise(raw):
    assert isinstance(cookies({"headers": [(b"cookie", raw)]}), dict)


def test_value_beyond_ascii_is_kept():
    assert cookies({"headers": [(b"cookie", b"name=M\xfcller")]}) == {"name": "Müller"}
