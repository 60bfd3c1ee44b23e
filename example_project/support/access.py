"""Who may do what in the demo, beyond what the rooms themselves decide."""

from collections.abc import Callable
from functools import wraps

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from pm_realtime.roles import has_role, role_of

View = Callable[[HttpRequest], HttpResponse]


def may_notify(role: str | None) -> bool:
    """Whether someone of ``role`` sees and sends notifications."""
    return role is not None and has_role(role, "admin")


def notifiers_only(view: View) -> View:
    """Let only those see ``view`` who may notify; the others are told so, or asked to sign in."""

    @wraps(view)
    def checked(request: HttpRequest) -> HttpResponse:
        if not may_notify(role_of(request.user)):
            raise PermissionDenied("Notifications are for admins and above.")
        return view(request)

    return login_required(checked)
