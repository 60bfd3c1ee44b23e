"""The origin of a handshake and its cookies: what can be told without a database."""

import pytest

from pm_realtime.auth import cookies, is_allowed_origin


def scope(origin=None, host="testserver", scheme="ws", **headers):
    """A handshake as an ASGI server describes it."""
    given = {"host": host, "origin": origin, **headers}
    return {
        "type": "websocket",
        "scheme": scheme,
        "headers": [
            (name.replace("_", "-").encode(), value.encode("latin1"))
            for name, value in given.items()
            if value is not None
        ],
    }


@pytest.fixture
def hosts(settings):
    """Hosts of each kind that ``ALLOWED_HOSTS`` may name."""
    settings.ALLOWED_HOSTS = ["example.com", ".wild.org", "127.0.0.1", "[::1]"]
    settings.CSRF_TRUSTED_ORIGINS = []


OURS = [
    "http://example.com",
    "https://example.com",
    "http://example.com:80",
    "https://example.com:443",
    "HTTP://EXAMPLE.COM",
    "https://Example.Com",
    "https://wild.org",
    "https://sub.wild.org",
    "https://a.b.wild.org",
    "http://127.0.0.1",
    "http://[::1]",
]

THEIRS = [
    "null",
    "",
    " ",
    "*",
    "example.com",
    "//example.com",
    "https://",
    "https://:443",
    "https:///example.com",
    "https://evil.com",
    "https://evil-example.com",
    "https://evilexample.com",
    "https://example.com.evil.com",
    "https://example.comevil.com",
    "https://example.co",
    "https://sub.example.com",
    "https://evilwild.org",
    "https://wild.org.evil.com",
    "https://example.com@evil.com",
    "https://evil.com@example.com",
    "https://user:secret@example.com",
    "https://example.com/",
    "https://example.com/path",
    "https://example.com?query",
    "https://example.com#fragment",
    "https://evil.com/example.com",
    "https://evil.com#example.com",
    "https://evil.com\\example.com",
    "https://example.com\\.evil.com",
    "https://example.com, https://evil.com",
    "https://example.com https://evil.com",
    " https://example.com",
    "https://example.com ",
    "https://exam\tple.com",
    "https://example.com:8443",
    "http://example.com:8080",
    "https://example.com:99999",
    "https://example.com:port",
    "https://example.com:-443",
    "ws://example.com",
    "wss://example.com",
    "ftp://example.com",
    "file://",
    "file://example.com",
    "javascript://example.com",
    "chrome-extension://example.com",
    "data:text/html,https://example.com",
    "https://[::1",
    "https://[::2]",
    "https://[example.com]",
    "http://127.0.0.2",
    "http://127.1",
    "http://2130706433",
    "https://ex\xe4mple.com",
]


@pytest.mark.usefixtures("hosts")
@pytest.mark.parametrize("origin", OURS)
def test_a_page_of_an_allowed_host_is_ours(origin):
    assert is_allowed_origin(scope(origin, host="example.com"))


@pytest.mark.usefixtures("hosts")
@pytest.mark.parametrize("origin", THEIRS)
def test_any_other_page_is_refused(origin):
    assert not is_allowed_origin(scope(origin, host="example.com"))


@pytest.mark.usefixtures("hosts")
def test_without_an_origin_it_is_no_browser_and_let_through():
    assert is_allowed_origin(scope(None))
    assert is_allowed_origin({"headers": []})


@pytest.mark.usefixtures("hosts")
@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://example.com:8000", "example.com:8000", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://sub.wild.org:8000", "sub.wild.org:8000", True),
        ("http://example.com", "example.com:8000", True),
        ("http://example.com:9000", "example.com:8000", False),
        ("http://[::1]:9000", "[::1]:8000", False),
        ("http://evil.com:8000", "example.com:8000", False),
        ("http://evil.com", "evil.com", False),
        ("http://example.com:8000", None, False),
    ],
)
def test_the_port_must_be_that_of_the_request_or_the_scheme(origin, host, allowed):
    assert is_allowed_origin(scope(origin, host=host)) is allowed


@pytest.mark.usefixtures("hosts")
@pytest.mark.parametrize(
    ("origin", "scheme", "allowed"),
    [
        ("https://example.com", "wss", True),
        ("http://example.com", "wss", False),
        ("http://example.com:443", "wss", False),
        ("http://example.com", "ws", True),
        ("https://example.com", "ws", True),  # a proxy has ended TLS
    ],
)
def test_an_insecure_page_does_not_reach_a_secure_socket(origin, scheme, allowed):
    assert is_allowed_origin(scope(origin, host="example.com", scheme=scheme)) is allowed


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://a.com", "a.com", True),
        ("https://A.com", "a.COM", True),
        ("http://a.com:8000", "a.com:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("https://b.com", "a.com", False),
        ("https://sub.a.com", "a.com", False),
        ("https://a.com.b.com", "a.com", False),
        ("http://a.com:9000", "a.com:8000", False),
        ("null", "a.com", False),
        ("https://a.com", None, False),
        ("https://", "", False),
    ],
)
def test_where_all_hosts_are_allowed_only_the_own_one_is_ours(settings, origin, host, allowed):
    settings.ALLOWED_HOSTS = ["*"]
    assert is_allowed_origin(scope(origin, host=host)) is allowed


def test_a_host_named_beside_the_star_is_ours_too(settings):
    settings.ALLOWED_HOSTS = ["*", "b.com"]
    assert is_allowed_origin(scope("https://b.com", host="a.com"))


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:8000", True),
        ("http://sub.localhost:8000", True),
        ("http://127.0.0.1:8000", True),
        ("http://[::1]:8000", True),
        ("http://evil.com:8000", False),
        ("http://localhost.evil.com:8000", False),
    ],
)
def test_under_debug_without_hosts_the_own_machine_is_ours(settings, origin, allowed):
    settings.DEBUG = True
    settings.ALLOWED_HOSTS = []
    assert is_allowed_origin(scope(origin, host="localhost:8000")) is allowed


def test_without_debug_and_hosts_nobody_is_ours(settings):
    settings.ALLOWED_HOSTS = []
    assert not is_allowed_origin(scope("http://localhost:8000", host="localhost:8000"))


@pytest.mark.parametrize("trusts_proxy", [True, False])
def test_the_host_a_proxy_names_counts_only_where_django_believes_it(settings, trusts_proxy):
    settings.ALLOWED_HOSTS = ["*"]
    settings.USE_X_FORWARDED_HOST = trusts_proxy
    handshake = scope("https://a.com", host="inner:8000", x_forwarded_host="a.com")
    assert is_allowed_origin(handshake) is trusts_proxy


@pytest.mark.usefixtures("hosts")
@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://trusted.net", True),
        ("https://TRUSTED.net", True),
        ("https://trusted.net:443", True),
        ("http://trusted.net", False),
        ("https://trusted.net:8443", False),
        ("https://sub.trusted.net", False),
        ("https://evil-trusted.net", False),
        ("https://trusted.net/", False),
        ("https://x@trusted.net", False),
        ("https://port.net:8443", True),
        ("https://port.net", False),
        ("https://sub.stars.net", True),
        ("https://a.b.stars.net", True),
        ("https://stars.net", True),
        ("http://sub.stars.net", False),
        ("https://sub.stars.net:8443", False),
        ("https://evilstars.net", False),
        ("https://stars.net.evil.com", False),
        ("https://.stars.net.evil.com", False),
        ("http://dev.net:3000", True),
    ],
)
def test_trusted_origins_are_read_as_django_reads_them_for_csrf(settings, origin, allowed):
    settings.CSRF_TRUSTED_ORIGINS = [
        "https://trusted.net",
        "https://port.net:8443",
        "https://*.stars.net",
        "http://dev.net:3000",
    ]
    assert is_allowed_origin(scope(origin, host="example.com")) is allowed


@pytest.mark.usefixtures("hosts")
@pytest.mark.parametrize(
    ("allowed_origins", "origin", "allowed"),
    [
        (["https://app.io"], "https://app.io", True),
        (["https://APP.io"], "https://app.io", True),
        (["https://app.io"], "https://app.io:443", True),
        (["https://app.io"], "http://app.io", False),
        (["https://app.io"], "https://sub.app.io", False),
        (["https://app.io"], "https://evil-app.io", False),
        (["https://app.io"], "https://example.com", False),  # the list replaces the hosts
        (["https://app.io"], "null", False),
        (["https://*.app.io"], "https://sub.app.io", True),
        (["https://*.app.io"], "https://evilapp.io", False),
        (["https://*app.io"], "https://evilapp.io", False),
        (["https://*.app.io"], "https://sub.app.io.evil.com", False),
        (["http://app.io:3000"], "http://app.io:3000", True),
        (["http://app.io:3000"], "http://app.io", False),
        (("https://a.io", "https://b.io"), "https://b.io", True),
        ([], "https://example.com", False),
        ([], None, True),
        (["*"], "https://evil.com", True),
        (["*"], "null", True),
        (["*"], "", True),
        (["https://app.io", "*"], "chrome-extension://abc", True),
    ],
)
def test_a_list_of_origins_replaces_the_hosts(settings, allowed_origins, origin, allowed):
    settings.PM_REALTIME = {"ALLOWED_ORIGINS": allowed_origins}
    assert is_allowed_origin(scope(origin, host="example.com")) is allowed


# --- cookies


def test_cookies_are_read_by_name():
    assert cookies(scope(cookie="sessionid=abc; theme=dark")) == {
        "sessionid": "abc",
        "theme": "dark",
    }


def test_a_handshake_without_cookies_has_none():
    assert cookies(scope()) == {}


def test_cookies_of_several_headers_are_all_found():
    headers = [(b"cookie", b"a=1; b=2"), (b"host", b"x"), (b"cookie", b"c=3")]
    assert cookies({"headers": headers}) == {"a": "1", "b": "2", "c": "3"}


@pytest.mark.parametrize("raw", [b"", b";;;", b"\xff\xfe", b"=", b"a", b"a=\x00", b"=;=;" * 100])
def test_no_bytes_in_a_cookie_header_raise(raw):
    assert isinstance(cookies({"headers": [(b"cookie", raw)]}), dict)


def test_a_value_with_bytes_beyond_ascii_is_kept():
    assert cookies({"headers": [(b"cookie", b"name=M\xfcller")]}) == {"name": "Müller"}
