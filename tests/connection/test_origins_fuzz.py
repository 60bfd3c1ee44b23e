"""Any bytes in the headers of a handshake, and the log line of a refusal."""

import re

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pm_realtime.connection.origins import describe, is_allowed_origin
from tests.connection.origins import PROXY_SSL, handshake, is_allowed

pytestmark = pytest.mark.usefixtures("hosts")


# Settings are set once for all examples: each assignment nests the settings one level deeper, and
# Python 3.12 ends in a RecursionError at some hundred levels.
@pytest.fixture
def trusted_proxy(settings):
    settings.USE_X_FORWARDED_HOST = settings.USE_X_FORWARDED_PORT = True
    settings.SECURE_PROXY_SSL_HEADER = PROXY_SSL


@pytest.fixture
def any_host(settings):
    settings.ALLOWED_HOSTS = ["*"]


ANY_HEADER = st.sampled_from(
    [b"origin", b"host", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-proto"]
)
PIECES = st.sampled_from(
    [
        *(
            "http",
            "https",
            "ws",
            "file",
            "null",
            "example.com",
            "wild.org",
            "evil.com",
            "127.0.0.1",
        ),
        *("[::1]", ":80", ":443", ":8000", "://", ":", "/", "//", ".", "..", ",", "@", "?", "#"),
        *("%", "\\", "*", "[", "]", "xn--", "é", "\x00", "\n"),
    ]
)
NEARLY = st.lists(PIECES | st.text(max_size=2), max_size=8).map("".join)
VALUES = st.binary(max_size=40) | NEARLY.map(lambda text: text.encode("utf-8", "surrogatepass"))
ALLOWED = re.compile(
    rb"https?://(example\.com|([a-z0-9_-]+\.)*wild\.org|127\.0\.0\.1|\[[0:]*:0*1\])\.?(:\d+)?",
    re.IGNORECASE,
)


@given(
    headers=st.lists(st.tuples(ANY_HEADER | st.binary(max_size=10), VALUES), max_size=5),
    scheme=st.sampled_from(["ws", "wss", "http", "https", "", None]),
)
@example(headers=[(b"origin", b"https://sub.wild.org:443")], scheme="wss")
@hypothesis_settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.usefixtures("trusted_proxy")
def test_any_bytes_let_only_allowed_hosts_in(headers, scheme):
    scope = {"scheme": scheme, "headers": headers}
    origins = [value for name, value in headers if name.lower() == b"origin"]
    answer = is_allowed_origin(scope)
    assert type(answer) is bool
    assert isinstance(describe(scope), str)
    if not origins:
        assert answer
    elif answer:
        (origin,) = origins
        assert ALLOWED.fullmatch(origin)


@given(host=VALUES)
@hypothesis_settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.usefixtures("any_host")
def test_any_host_header_matches_only_the_same_origin(host):
    answer = is_allowed("https://page.example", host=host)
    assert answer is bool(re.fullmatch(rb"page\.example\.?(:\d+)?", host, re.IGNORECASE))


def test_refusal_is_described_with_the_headers_read(settings):
    assert describe(handshake("https://evil.com", "wss://example.com")) == (
        "Origin 'https://evil.com', Host 'example.com', over https"
    )
    assert describe(handshake("https://evil.com\r\nforged", host=None)) == (
        r"Origin 'https://evil.com\r\nforged', Host '', over http"
    )
    forwarded = handshake("https://evil.com", "ws://inner:8000", x_forwarded_host="example.com")
    assert "Host 'inner:8000'" in describe(forwarded)
    settings.USE_X_FORWARDED_HOST = True
    assert "Host 'example.com'" in describe(forwarded)
    assert len(describe(handshake("x" * 10_000, host="y" * 10_000))) < 500
