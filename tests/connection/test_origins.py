"""The check of a handshake's ``Origin``: tables of settings, headers and answers.

``to`` is the address that the page opens. The server sees its host and scheme.
"""

import pytest

from pm_realtime.connection.origins import is_allowed_origin
from tests.connection.origins import PROXY_SSL, handshake, is_allowed

pytestmark = pytest.mark.usefixtures("hosts")


# --- by default: the host of the request


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://example.com", "example.com"),
        ("https://example.com", "example.com"),
        ("http://example.com:80", "example.com"),
        ("https://example.com:443", "example.com"),
        ("HTTP://EXAMPLE.COM", "example.com"),
        ("https://Example.Com", "EXAMPLE.com"),
        ("https://example.com.", "example.com"),  # the same name, fully qualified
        ("https://example.com", "example.com."),
        ("https://wild.org", "wild.org"),
        ("https://sub.wild.org", "sub.wild.org"),
        ("https://a.b.wild.org", "a.b.wild.org"),
        ("https://SUB.wild.org.", "sub.wild.org"),
        ("http://127.0.0.1", "127.0.0.1"),
        ("http://[::1]", "[::1]"),
        ("http://[0:0:0:0:0:0:0:1]", "[::1]"),
        ("http://[::0001]", "[0:0::1]"),
    ],
)
def test_page_of_the_requests_own_host_is_allowed(origin, host):
    assert is_allowed(origin, f"ws://{host}")


@pytest.mark.parametrize(
    ("origin", "to"),
    [
        ("https://a.wild.org", "wss://b.wild.org"),
        ("https://a.wild.org", "wss://wild.org"),
        ("https://wild.org", "wss://a.wild.org"),
        ("https://a.b.wild.org", "wss://b.wild.org"),
        ("http://a.wild.org:8000", "ws://b.wild.org:8000"),
        ("https://a.wild.org.", "wss://b.wild.org"),
        ("https://example.com", "wss://wild.org"),
        ("https://wild.org", "wss://example.com"),
        ("http://127.0.0.1", "ws://[::1]"),
        ("http://127.0.0.1:8000", "ws://example.com:8000"),
    ],
)
def test_page_of_another_allowed_host_is_refused_unless_trusted(settings, origin, to):
    assert not is_allowed(origin, to)
    settings.CSRF_TRUSTED_ORIGINS = [origin.removesuffix(".")]
    assert is_allowed(origin, to)
    settings.CSRF_TRUSTED_ORIGINS = []
    settings.PM_REALTIME = {"ALLOWED_ORIGINS": [origin.removesuffix(".")]}
    assert is_allowed(origin, to)


@pytest.mark.parametrize("hosts", [["*"], [".wild.org"], ["a.wild.org", "b.wild.org"], [".org"]])
def test_tenants_cannot_open_sockets_of_each_other(settings, hosts):
    settings.ALLOWED_HOSTS = hosts
    settings.USE_X_FORWARDED_HOST = True
    page = "https://a.wild.org"
    assert is_allowed(page, "wss://a.wild.org")
    assert not is_allowed(page, "wss://b.wild.org")
    assert is_allowed(page, "ws://inner:8000", x_forwarded_host="a.wild.org")
    assert not is_allowed(page, "ws://a.wild.org", x_forwarded_host="b.wild.org")


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
        ("http://sub.wild.org:8000", "ws://example.com:8000", False),
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
def test_request_of_a_foreign_host_is_refused(host):
    assert not is_allowed("https://example.com", host=host)
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


def test_host_beside_the_wildcard_is_another_host(settings):
    settings.ALLOWED_HOSTS = ["*", "b.com"]
    assert not is_allowed("https://b.com", "ws://a.com")


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://localhost:8000", "localhost:8000", True),
        ("http://sub.localhost:8000", "sub.localhost:8000", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://127.0.0.1:8000", "localhost:8000", False),  # another host, with other cookies
        ("http://sub.localhost:8000", "localhost:8000", False),
        ("http://evil.com:8000", "localhost:8000", False),
        ("http://evil.com:8000", "evil.com:8000", False),
        ("http://localhost.evil.com:8000", "localhost.evil.com:8000", False),
        ("http://evillocalhost:8000", "evillocalhost:8000", False),
        ("http://localhost:3000", "localhost:8000", False),  # of a frontend's own server
    ],
)
def test_debug_without_allowed_hosts_allows_localhost(settings, origin, host, allowed):
    settings.DEBUG = True
    settings.ALLOWED_HOSTS = []
    assert is_allowed(origin, f"ws://{host}") is allowed


def test_page_of_another_port_is_allowed_if_trusted(settings):
    settings.CSRF_TRUSTED_ORIGINS = ["http://127.0.0.1:5173"]
    assert is_allowed("http://127.0.0.1:5173", "ws://127.0.0.1:8000")
    assert not is_allowed("http://127.0.0.1:5174", "ws://127.0.0.1:8000")


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
