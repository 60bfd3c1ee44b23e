"""What every template of the demo knows."""

from typing import Any

from django.http import HttpRequest

from pm_realtime.roles import role_of

from .access import may_notify


def site(request: HttpRequest) -> dict[str, Any]:
    """The visitor's role and what the navigation shows for it."""
    user = getattr(request, "user", None)
    role = role_of(user) if user is not None else None
    return {"role": role, "may_notify": may_notify(role)}
