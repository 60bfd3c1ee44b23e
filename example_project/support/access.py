"""Permissions of the demo's pages. The rooms have their own."""

from collections.abc import Callable
from functools import wraps

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from pm_realtime.roles import has_role, role_of

View = Callable[[HttpRequest], HttpResponse]


def may_notify(role: str | None) -> bool:
    """Whether a user with ``role`` may open the page of notifications and send some."""
    return role is not None and has_role(role, "admin")


def notifiers_only(view: View) -> View:
    """Show ``view`` only to users who may notify. Others get a 403, or have to sign in."""

    @wraps(view)
    def checked(request: HttpRequest) -> HttpResponse:
        if not may_notify(role_of(request.user)):
            raise PermissionDenied("Notifications are for admins and above.")
        return view(request)

    return login_required(checked)
