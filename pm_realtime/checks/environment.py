"""Check of the environment: an ASGI server and the channel layer."""

from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning

from pm_realtime.checks.hints import is_installed
from pm_realtime.checks.layer import check_layer
from pm_realtime.conf import Conf, conf

_SERVERS: Final = ("daphne", "uvicorn", "hypercorn", "granian")


def check_environment(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Every problem with the ASGI server and the channel layer."""
    messages: list[CheckMessage] = []
    if not any(map(is_installed, _SERVERS)):
        messages.append(
            CheckWarning(
                f"No ASGI server is installed (looked for {', '.join(_SERVERS)}).",
                hint="WebSockets need one: pip install daphne, or pm-realtime[uvicorn].",
                id="pm_realtime.W001",
            )
        )
    elif "daphne" in settings.INSTALLED_APPS and not getattr(settings, "ASGI_APPLICATION", None):
        messages.append(
            CheckWarning(
                "daphne is in INSTALLED_APPS, but ASGI_APPLICATION is not set, so runserver fails.",
                hint="Set ASGI_APPLICATION = 'mysite.asgi.application'.",
                id="pm_realtime.W005",
            )
        )
    if not Conf.CHANNEL_LAYER.is_valid(conf.user_settings.get("CHANNEL_LAYER", "default")):
        return messages
    return [*messages, *check_layer()]
