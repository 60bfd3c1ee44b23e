"""The context of every template of the demo."""

from typing import Any

from django.http import HttpRequest

from pm_realtime.roles import role_of

from .access import may_notify

#: The modules that site.js imports, directly or not.
MODULES = [
    f"support/{name}.js" for name in ("dom", "inbox", "notices", "realtime", "status", "store")
]


def site(request: HttpRequest) -> dict[str, Any]:
    """The role of the visitor, whether the navigation has the notifications, and the modules."""
    user = getattr(request, "user", None)
    role = role_of(user) if user is not None else None
    return {"role": role, "may_notify": may_notify(role), "modules": MODULES}
