"""``CSRF_TRUSTED_ORIGINS`` and ``ALLOWED_ORIGINS``, which allow other pages."""

import pytest

from pm_realtime.connection import is_pattern
from tests.connection.origins import is_allowed

pytestmark = pytest.mark.usefixtures("hosts")


# --- CSRF_TRUSTED_ORIGINS, in addition to the host of the request


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
        ("https://sub.stars-slash.net", True),  # as in Django, which reads no path here
        ("https://sub.stars-slash.net.evil.com", False),
        ("app://sub.stars.io", True),
        ("app://evilstars.io", False),
        ("http://dev.net:3000", True),
        ("http://dev.net", False),
        ("http://[2001:db8::1]:3000", True),
        ("capacitor://localhost", True),
        ("http://localhost", False),
        ("https://example.com", True),  # still the host of the request
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
        "https://*.stars-slash.net/",
        "app://*.stars.io",
        "http://dev.net:3000",
        "http://[2001:db8:0::1]:3000",
        "capacitor://localhost",
    ]
    assert is_allowed(origin) is allowed


def test_trusted_origin_may_be_less_secure_than_the_socket(settings):
    settings.CSRF_TRUSTED_ORIGINS = ["http://dev.net:3000"]
    assert is_allowed("http://dev.net:3000", "wss://example.com")


# --- ALLOWED_ORIGINS, instead of the host of the request


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
        (["https://app.io"], "https://example.com", False),  # the list replaces the own host
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
def test_allowed_origins_replace_the_default(settings, allowed_origins, origin, allowed):
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
    assert is_allowed(f"https://{sent}", host=sent.encode()) is allowed
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
    assert is_allowed("https://sub.xn--bcher-kva.example", "ws://sub.xn--bcher-kva.example")
    assert not is_allowed("https://sub.xn--bcher-kva.example", "ws://xn--bcher-kva.example")
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
