"""Handshakes as the check of their ``Origin`` sees them."""

from pm_realtime.connection.origins import is_allowed_origin

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
