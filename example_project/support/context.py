"""The context of every template of the demo."""

from typing import Any

from django.http import HttpRequest

from pm_realtime.roles import role_of

from .access import may_notify


def site(request: HttpRequest) -> dict[str, Any]:
    """The role of the visitor, and whether the navigation has the page of notifications."""
    user = getattr(request, "user", None)
    role = role_of(user) if user is not None else None
    return {"role": role, "may_notify": may_notify(role)}
