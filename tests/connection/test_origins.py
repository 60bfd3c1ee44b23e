"""The check of a handshake's ``Origin``: tables of settings, headers and answers.

``to`` is the address that the page opens. The server sees its host and scheme.
"""

import re

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pm_realtime.connection import is_pattern
from pm_realtime.connection.origins import describe, is_allowed_origin

PROXY_SSL = ("HTTP_X_FORWARDED_PROTO", "https")


def handshake(origin, to="ws://example.com", **headers):
    """The ASGI scope of a handshake. A header that is None is absent."""
    scheme, _, host = to.partition("://")
    given = {"host": host, "origin": origin, **headers}
    return {
        "type": "websocket",
        "scheme": scheme,
        "headers": [
            (name.replace("_", "-").encode(), value if isinstance(value, bytes) else value.encode())
            for name, value in given.items()
            if value is not None
        ],
    }


def is_allowed(*args, **headers):
    return is_allowed_origin(handshake(*args, **headers))


@pytest.fixture(autouse=True)
def hosts(settings):
    """A host of each kind that ``ALLOWED_HOSTS`` may name. Some tests replace them."""
    settings.ALLOWED_HOSTS = ["example.com", ".wild.org", "127.0.0.1", "[::1]"]
    settings.CSRF_TRUSTED_ORIGINS = []


# --- by default: ALLOWED_HOSTS


@pytest.mark.parametrize(
    "origin",
    [
        "http://example.com",
        "https://example.com",
        "http://example.com:80",
        "https://example.com:443",
        "HTTP://EXAMPLE.COM",
        "https://Example.Com",
        "https://example.com.",  # the same name, fully qualified
        "https://wild.org",
        "https://sub.wild.org",
        "https://a.b.wild.org",
        "https://SUB.wild.org.",
        "https://under_score.wild.org",
        "http://127.0.0.1",
        "http://[::1]",
        "http://[0:0:0:0:0:0:0:1]",
        "http://[::0001]",
    ],
)
def test_page_of_an_allowed_host_is_allowed(origin):
    assert is_allowed(origin)


@pytest.mark.parametrize(
    "origin",
    [
        # no origin at all
        "null",
        "NULL",
        "",
        " ",
        "*",
        "undefined",
        "example.com",
        "//example.com",
        "https:example.com",
        "https:/example.com",
        "https://",
        "https://:443",
        "https:///example.com",
        "https://.",
        # another host
        "https://evil.com",
        "https://evil-example.com",
        "https://evilexample.com",
        "https://example.com.evil.com",
        "https://example.comevil.com",
        "https://example.com-evil.com",
        "https://example.co",
        "https://example.com..",
        "https://.example.com",
        "https://sub.example.com",
        "https://www.example.com",
        "https://evilwild.org",
        "https://wild.org.evil.com",
        "https://.wild.org",
        "https://a..wild.org",
        "https://*.wild.org",
        "http://localhost",
        "http://127.0.0.2",
        "http://127.1",
        "http://2130706433",
        "http://0x7f.0.0.1",
        "http://127.0.0.1.evil.com",
        "https://[::2]",
        "http://::1",
        "http://[::1",
        "http://[::1]]",
        "http://[::1%25lo]",
        "http://[::ffff:127.0.0.1]",
        "http://[::1].evil.com",
        "https://[example.com]",
        # more than an origin
        "https://example.com@evil.com",
        "https://evil.com@example.com",
        "https://user:secret@example.com",
        "https://@example.com",
        "https://example.com/",
        "https://example.com/path",
        "https://example.com?query",
        "https://example.com#fragment",
        "https://evil.com/example.com",
        "https://evil.com#example.com",
        "https://evil.com?example.com",
        "https://evil.com\\example.com",
        "https://evil.com\\@example.com",
        "https://example.com\\.evil.com",
        "https://example.com, https://evil.com",
        "https://example.com,https://example.com",
        "https://example.com https://evil.com",
        " https://example.com",
        "https://example.com ",
        "https:// example.com",
        "https://exam\tple.com",
        "https://example.com\n",
        "https://example.com\r\nX: y",
        "https://example.com\x00",
        "https://evil.com\x00.wild.org",
        "https://example%2ecom",
        "https://evil.com%2f.wild.org",
        "https://evil.com;.wild.org",
        # another port
        "https://example.com:8443",
        "http://example.com:8080",
        "http://example.com:443",
        "https://example.com:80",
        "https://example.com:",
        "https://example.com:0",
        "https://example.com:0443",
        "https://example.com:99999",
        "https://example.com:65979",  # 443 in 16 bits
        "https://example.com:443:443",
        "https://example.com:port",
        "https://example.com:-443",
        "https://example.com:+443",
        "https://example.com:4_43",
        "https://example.com:٤٤٣",
        # another scheme
        "ws://example.com",
        "wss://example.com",
        "ftp://example.com",
        "file://",
        "file://example.com",
        "javascript://example.com",
        "chrome-extension://example.com",
        "capacitor://example.com",
        "httpss://example.com",
        "blob:https://example.com",
        "view-source:https://example.com",
        "data:text/html,https://example.com",
        # characters that no browser sends
        b"https://ex\xe4mple.com",
        b"https://example.com\xff",
        b"\xff\xfe",
        "https://ｅxample.com",  # noqa: RUF001 -- a full-width letter
        "https://example。com",
        "https://exаmple.com",  # noqa: RUF001 -- a Cyrillic letter
        "https://xn--exmple-4nf.com",
        "https://wild.org。evil.com",
    ],
)
def test_any_other_page_is_refused(origin):
    assert not is_allowed(origin)


def test_handshake_without_origin_is_allowed():
    assert is_allowed(None)
    assert is_allowed(None, "wss://evil.com")
    assert is_allowed_origin({"headers": []})
    assert is_allowed_origin({})


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [
        ([b"https://example.com"], True),
        ([b"https://example.com", b"https://example.com"], False),
        ([b"https://example.com", b"https://evil.com"], False),
        ([b"https://evil.com", b"https://example.com"], False),
        ([b"https://example.com", b""], False),
        ([b"", b"https://example.com"], False),
        ([b"", b""], False),
    ],
)
def test_more_than_one_origin_is_refused(origins, allowed):
    headers = [(b"host", b"example.com"), *((b"origin", origin) for origin in origins)]
    assert is_allowed_origin({"headers": headers}) is allowed


def test_header_name_is_case_insensitive():
    headers = [(b"Host", b"example.com"), (b"Origin", b"https://evil.com")]
    assert not is_allowed_origin({"headers": headers})


@pytest.mark.parametrize(
    ("origin", "to", "allowed"),
    [
        ("http://example.com:8000", "ws://example.com:8000", True),
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000", True),
        ("http://[::1]:8000", "ws://[::1]:8000", True),
        ("http://[::1]:8000", "ws://[0:0::1]:8000", True),
        ("http://sub.wild.org:8000", "ws://sub.wild.org:8000", True),
        ("http://sub.wild.org:8000", "ws://example.com:8000", True),
        ("https://example.com:8443", "wss://example.com:8443", True),
        ("http://example.com:8000", "ws://EXAMPLE.com.:8000", True),
        ("http://example.com", "ws://example.com:8000", True),
        ("http://example.com:9000", "ws://example.com:8000", False),
        ("http://example.com:8000", "ws://example.com", False),
        ("http://[::1]:9000", "ws://[::1]:8000", False),
        ("http://evil.com:8000", "ws://example.com:8000", False),
    ],
)
def test_port_must_be_that_of_the_request_or_the_scheme(origin, to, allowed):
    assert is_allowed(origin, to) is allowed


@pytest.mark.parametrize(
    "host",
    [None, "", " ", "evil.com:8000", "example.com:port", "a b", "[::1", "example.com:8000/", "é"],
)
def test_port_of_a_foreign_host_header_is_not_allowed(host):
    assert is_allowed("https://example.com", host=host)
    assert not is_allowed("https://example.com:8000", host=host)
    assert not is_allowed("https://evil.com", host=host)
    assert not is_allowed("http://evil.com:8000", host=host)


@pytest.mark.parametrize(
    ("origin", "to", "allowed"),
    [
        ("https://example.com", "wss://example.com", True),
        ("https://example.com", "https://example.com", True),
        ("http://example.com", "wss://example.com", False),
        ("http://example.com", "https://example.com", False),
        ("http://example.com:443", "wss://example.com:443", False),
        ("http://example.com", "ws://example.com", True),
        ("http://example.com", "http://example.com", True),
        ("https://example.com", "ws://example.com", True),  # a proxy terminates TLS
    ],
)
def test_insecure_page_cannot_open_a_secure_socket(origin, to, allowed):
    assert is_allowed(origin, to) is allowed


@pytest.mark.parametrize(
    ("origin", "to", "allowed"),
    [
        ("https://a.com", "ws://a.com", True),
        ("https://A.com", "ws://a.COM", True),
        ("https://a.com", "ws://a.com.", True),
        ("http://a.com:8000", "ws://a.com:8000", True),
        ("http://[::1]:8000", "ws://[::1]:8000", True),
        ("http://[::1]:8000", "ws://[0:0:0:0:0:0:0:1]:8000", True),
        ("https://xn--bcher-kva.example", "wss://xn--bcher-kva.example", True),
        ("https://b.com", "ws://a.com", False),
        ("https://sub.a.com", "ws://a.com", False),
        ("https://a.com.b.com", "ws://a.com", False),
        ("http://a.com:9000", "ws://a.com:8000", False),
        ("http://a.com", "wss://a.com", False),
        ("null", "ws://a.com", False),
        ("null", "ws://null", False),
        ("https://", "ws://", False),
        ("https://a.com, b.com", "ws://a.com, b.com", False),
    ],
)
def test_wildcard_allows_only_the_host_of_the_request(settings, origin, to, allowed):
    settings.ALLOWED_HOSTS = ["*"]
    assert is_allowed(origin, to) is allowed


def test_wildcard_refuses_a_request_without_host(settings):
    settings.ALLOWED_HOSTS = ["*"]
    assert not is_allowed("https://a.com", host=None)


def test_host_beside_the_wildcard_is_allowed(settings):
    settings.ALLOWED_HOSTS = ["*", "b.com"]
    assert is_allowed("https://b.com", "ws://a.com")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:8000", True),
        ("http://sub.localhost:8000", True),
        ("http://127.0.0.1:8000", True),
        ("http://[::1]:8000", True),
        ("http://evil.com:8000", False),
        ("http://localhost.evil.com:8000", False),
        ("http://evillocalhost:8000", False),
        ("http://localhost:3000", False),
    ],
)
def test_debug_without_allowed_hosts_allows_localhost(settings, origin, allowed):
    settings.DEBUG = True
    settings.ALLOWED_HOSTS = []
    assert is_allowed(origin, "ws://localhost:8000") is allowed


def test_no_allowed_hosts_without_debug_refuses_all(settings):
    settings.ALLOWED_HOSTS = []
    assert not is_allowed("http://localhost:8000", "ws://localhost:8000")


@pytest.mark.parametrize("entry", [":80", "example.com:80", "https://example.com", ".", "", "::1"])
def test_invalid_allowed_host_allows_nothing(settings, entry):
    settings.ALLOWED_HOSTS = [entry]
    for origin in ("http://example.com", "https://example.com", "http://[::1]", "https://a."):
        assert not is_allowed(origin)


# --- behind a proxy


@pytest.mark.parametrize("trusts_proxy", [True, False])
def test_forwarded_host_counts_only_if_django_trusts_it(settings, trusts_proxy):
    settings.ALLOWED_HOSTS = ["*"]
    settings.USE_X_FORWARDED_HOST = trusts_proxy
    outer, inner = "https://a.com", "http://inner:8000"
    assert is_allowed(outer, "ws://inner:8000", x_forwarded_host="a.com") is trusts_proxy
    assert is_allowed(inner, "ws://inner:8000", x_forwarded_host="a.com") is not trusts_proxy
    assert is_allowed(inner, "ws://inner:8000")
    assert not is_allowed("https://b.com", "ws://inner:8000", x_forwarded_host="a.com, b.com")
    assert is_allowed(inner, "ws://inner:8000", x_forwarded_host="") is not trusts_proxy


@pytest.mark.parametrize("trusts_proxy", [True, False])
def test_forwarded_port_counts_only_if_django_trusts_it(settings, trusts_proxy):
    settings.USE_X_FORWARDED_PORT = trusts_proxy
    assert is_allowed("https://example.com:8443", x_forwarded_port="8443") is trusts_proxy
    assert not is_allowed("https://example.com:9443", x_forwarded_port="8443")
    assert not is_allowed("https://example.com:8443", x_forwarded_port="8443,9443")
    assert is_allowed("https://example.com:8443", "ws://example.com:8443", x_forwarded_port="443")


@pytest.mark.parametrize(
    ("origin", "to", "proto", "allowed"),
    [
        ("https://example.com", "ws://example.com", "https", True),
        ("http://example.com", "ws://example.com", "https", False),
        ("http://example.com", "ws://example.com", "https, http", False),
        ("http://example.com", "ws://example.com", "wss", False),  # as Traefik sends it
        ("https://example.com", "ws://example.com", "wss", True),
        ("http://example.com", "ws://example.com", "http", True),
        ("http://example.com", "ws://example.com", "ws", True),
        ("http://example.com", "ws://example.com", None, True),
        ("http://example.com", "wss://example.com", None, False),
        ("http://example.com", "wss://example.com", "http", True),  # TLS only behind the proxy
    ],
)
def test_forwarded_scheme_replaces_that_of_the_request(settings, origin, to, proto, allowed):
    settings.SECURE_PROXY_SSL_HEADER = PROXY_SSL
    assert is_allowed(origin, to, x_forwarded_proto=proto) is allowed


def test_forwarded_scheme_counts_only_if_django_trusts_it():
    assert is_allowed("http://example.com", x_forwarded_proto="https")
    assert not is_allowed("http://example.com", "wss://example.com", x_forwarded_proto="http")


def test_header_with_underscores_does_not_count_as_forwarded(settings):
    settings.SECURE_PROXY_SSL_HEADER = PROXY_SSL
    scope = handshake("http://example.com", x_forwarded_proto="https")
    scope["headers"].insert(0, (b"x_forwarded_proto", b"http"))
    assert not is_allowed_origin(scope)


# --- CSRF_TRUSTED_ORIGINS, in addition to ALLOWED_HOSTS


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://trusted.net", True),
        ("https://TRUSTED.net", True),
        ("https://trusted.net:443", True),
        ("https://trusted.net.", True),
        ("http://trusted.net", False),
        ("https://trusted.net:8443", False),
        ("https://sub.trusted.net", False),
        ("https://evil-trusted.net", False),
        ("https://trusted.net.evil.com", False),
        ("https://trusted.net/", False),
        ("https://x@trusted.net", False),
        ("https://port.net:8443", True),
        ("https://port.net", False),
        ("https://sub.stars.net", True),
        ("https://a.b.stars.net", True),
        ("https://SUB.STARS.net", True),
        ("https://stars.net", True),  # as in Django, the bare domain too
        ("http://sub.stars.net", False),
        ("http://stars.net", False),
        ("https://sub.stars.net:8443", False),
        ("https://evilstars.net", False),
        ("https://evil-stars.net", False),
        ("https://stars.net.evil.com", False),
        ("https://.stars.net", False),
        ("https://.stars.net.evil.com", False),
        ("https://*.stars.net", False),
        ("https://evil.com/.stars.net", False),
        ("https://evil.com#.stars.net", False),
        ("https://sub.stars-port.net:8443", True),
        ("https://sub.stars-port.net", False),
        ("https://dots.net", False),  # as in Django, a wildcard needs a star
        ("https://sub.dots.net", False),
        ("https://slash.net", False),
        ("http://dev.net:3000", True),
        ("http://dev.net", False),
        ("http://[2001:db8::1]:3000", True),
        ("capacitor://localhost", True),
        ("http://localhost", False),
        ("https://example.com", True),  # still one of ALLOWED_HOSTS
    ],
)
def test_csrf_trusted_origins_are_read_as_in_django(settings, origin, allowed):
    settings.CSRF_TRUSTED_ORIGINS = [
        "https://trusted.net",
        "https://port.net:8443",
        "https://*.stars.net",
        "https://*.stars-port.net:8443",
        "https://.dots.net",
        "https://slash.net/",
        "http://dev.net:3000",
        "http://[2001:db8:0::1]:3000",
        "capacitor://localhost",
    ]
    assert is_allowed(origin) is allowed


def test_trusted_origin_may_be_less_secure_than_the_socket(settings):
    settings.CSRF_TRUSTED_ORIGINS = ["http://dev.net:3000"]
    assert is_allowed("http://dev.net:3000", "wss://example.com")


# --- ALLOWED_ORIGINS, instead of ALLOWED_HOSTS


@pytest.mark.parametrize(
    ("allowed_origins", "origin", "allowed"),
    [
        (["https://app.io"], "https://app.io", True),
        (["https://APP.io"], "https://app.io", True),
        (["HTTPS://app.io"], "https://APP.io", True),
        (["https://app.io"], "https://app.io:443", True),
        (["https://app.io:443"], "https://app.io", True),
        (["https://app.io"], "http://app.io", False),
        (["https://app.io"], "https://sub.app.io", False),
        (["https://app.io"], "https://evil-app.io", False),
        (["https://app.io"], "https://app.io:8443", False),
        (["https://app.io"], "https://example.com", False),  # the list replaces ALLOWED_HOSTS
        (["https://app.io"], "https://trusted.net", False),  # and CSRF_TRUSTED_ORIGINS
        (["https://app.io"], "null", False),
        (["https://app.io"], "", False),
        (["https://*.app.io"], "https://sub.app.io", True),
        (["https://*.APP.io"], "https://sub.app.io", True),
        (["HTTPS://*.app.io"], "https://sub.app.io", True),
        (["https://*.app.io"], "https://app.io", True),
        (["https://*.app.io"], "https://evilapp.io", False),
        (["https://*.app.io"], "https://sub.app.io.evil.com", False),
        (["https://*app.io"], "https://evilapp.io", False),
        (["https://*"], "https://evil.com", False),
        (["https://*.*"], "https://evil.com", False),
        (["https://.app.io"], "https://sub.app.io", False),
        (["app.io"], "https://app.io", False),
        (["wss://app.io"], "wss://app.io", False),
        (["http://app.io:3000"], "http://app.io:3000", True),
        (["http://app.io:3000"], "http://app.io", False),
        (["http://[::1]:3000"], "http://[::1]:3000", True),
        (["http://[0:0:0:0:0:0:0:1]"], "http://[::1]", True),
        (["http://[2001:DB8::A]"], "http://[2001:db8::a]", True),
        (["http://[::1]"], "http://[::2]", False),
        (("https://a.io", "https://b.io"), "https://b.io", True),
        ([], "https://example.com", False),
        ([], "null", False),
        ([], None, True),
        (["*"], "https://evil.com", True),
        (["*"], "null", True),
        (["*"], "", True),
        (["*"], b"\xff", True),
        (["https://app.io", "*"], "chrome-extension://abc", True),
        # 'null' is any page that hides its origin
        (["null"], "null", False),
        # pages of an app, exactly as listed
        (["capacitor://localhost"], "capacitor://localhost", True),
        (["capacitor://localhost"], "ionic://localhost", False),
        (["capacitor://localhost"], "capacitor://localhost.evil.com", False),
        (["capacitor://localhost"], "capacitor://localhost/", False),
        (["capacitor://localhost"], "http://localhost", False),
        (["tauri://localhost"], "tauri://localhost", True),
        (["http://tauri.localhost"], "http://tauri.localhost", True),
        (["app://."], "app://.", True),
        (["app://."], "app://a.", False),
        (["app://.x"], "app://a.x", False),
        (["chrome-extension://abcdef"], "chrome-extension://abcdef", True),
        (["chrome-extension://abcdef"], "chrome-extension://abcdee", False),
        (["chrome-extension://*"], "chrome-extension://abcdef", False),
        (["file://"], "file://", True),
        (["file://"], "null", False),
        (["file://"], "file:///etc/passwd", False),
        (["file://"], "file://host", False),
    ],
)
def test_allowed_origins_replace_the_allowed_hosts(settings, allowed_origins, origin, allowed):
    settings.CSRF_TRUSTED_ORIGINS = ["https://trusted.net"]
    settings.PM_REALTIME = {"ALLOWED_ORIGINS": allowed_origins}
    assert is_allowed(origin) is allowed


@pytest.mark.parametrize(
    ("written", "sent", "allowed"),
    [
        ("bücher.example", "xn--bcher-kva.example", True),
        ("BÜCHER.example", "xn--bcher-kva.example", True),
        ("bu\u0308cher.example", "xn--bcher-kva.example", True),  # in two code points
        ("xn--bcher-kva.example", "xn--bcher-kva.example", True),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example", True),
        ("straße.example", "xn--strae-oqa.example", True),
        (
            "straße.example",
            "strasse.example",
            False,
        ),  # another host, though the same one in IDNA 2003
        ("пример.рф", "xn--e1afmkfd.xn--p1ai", True),
        ("bücher.example", "sub.xn--bcher-kva.example", False),
        ("bücher.example", "bucher.example", False),
        ("bücher.example", "bücher.example", False),  # no browser sends it so
        ("xn--bcher-kva.example", "bücher.example", False),
        ("example.com", "xn--exmple-4nf.com", False),
    ],
)
def test_international_host_may_be_written_either_way(settings, written, sent, allowed):
    settings.ALLOWED_HOSTS = [written]
    assert is_allowed(f"https://{sent}") is allowed
    settings.ALLOWED_HOSTS = []
    settings.CSRF_TRUSTED_ORIGINS = [f"https://{written}"]
    assert is_allowed(f"https://{sent}") is allowed
    settings.PM_REALTIME = {"ALLOWED_ORIGINS": [f"https://{written}"]}
    assert is_allowed(f"https://{sent}") is allowed


@pytest.mark.parametrize("encoding", ["utf-8", "latin1"])
def test_origin_with_non_ascii_host_is_refused(settings, encoding):
    settings.ALLOWED_HOSTS = ["bücher.example"]
    assert not is_allowed("https://bücher.example".encode(encoding))


def test_port_of_an_international_host_counts(settings):
    settings.ALLOWED_HOSTS = ["bücher.example"]
    page, to = "http://xn--bcher-kva.example:8000", "ws://xn--bcher-kva.example:8000"
    assert is_allowed(page, to)
    assert not is_allowed(page, "ws://xn--bcher-kva.example")


def test_wildcard_of_an_international_host(settings):
    settings.ALLOWED_HOSTS = [".bücher.example"]
    assert is_allowed("https://sub.xn--bcher-kva.example")
    settings.PM_REALTIME = {"ALLOWED_ORIGINS": ["https://*.bücher.example"]}
    assert is_allowed("https://sub.xn--bcher-kva.example")
    assert not is_allowed("https://evilxn--bcher-kva.example")


def test_settings_are_read_at_each_handshake(settings):
    settings.PM_REALTIME = {"ALLOWED_ORIGINS": ["https://a.io"]}
    assert is_allowed("https://a.io")
    settings.PM_REALTIME = {"ALLOWED_ORIGINS": ["https://b.io"]}
    assert not is_allowed("https://a.io")


@pytest.mark.parametrize(
    ("text", "can_match"),
    [
        ("*", True),
        ("https://a.io", True),
        ("https://*.a.io:8443", True),
        ("https://bücher.example", True),
        ("app://x", True),
        ("https://a.io:65536", False),
        ("null", False),
        ("https://a.io/", False),
        ("https://*a.io", False),
        ("wss://a.io", False),
    ],
)
def test_is_pattern_tells_if_a_text_can_match(text, can_match):
    assert is_pattern(text) is can_match


# --- any bytes


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


def test_refusal_is_described_with_the_headers_read():
    assert describe(handshake("https://evil.com", "wss://example.com")) == (
        "Origin 'https://evil.com', Host 'example.com', over https"
    )
    assert describe(handshake("https://evil.com\r\nforged", host=None)) == (
        r"Origin 'https://evil.com\r\nforged', Host '', over http"
    )
    assert len(describe(handshake("x" * 10_000, host="y" * 10_000))) < 500
