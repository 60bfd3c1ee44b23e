"""Views of accounts: login, logout, passwords, and changes by an admin.

Each view answers with ``at``, the ``time.time()`` at which its change took effect.
"""

import time
from collections.abc import Callable
from typing import Any

from django.contrib.auth import (
    aauthenticate,
    alogin,
    alogout,
    aupdate_session_auth_hash,
    authenticate,
    get_user_model,
    login,
    logout,
    update_session_auth_hash,
)
from django.contrib.auth.models import Group
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path

from pm_realtime import refresh_room, refresh_user
from tests.site.models import Note
from tests.site.rules import permission
from tests.support.sessions import lose

User = get_user_model()
PASSWORD = "a password"


def log_in(request: HttpRequest) -> JsonResponse:
    """Log in ``username``; the session lasts ``age`` seconds if given."""
    if "age" in request.GET:
        request.session.set_expiry(int(request.GET["age"]))
    user = authenticate(
        request,
        username=request.GET["username"],
        password=request.GET.get("password", PASSWORD),
    )
    at = time.time()
    login(request, user)
    return JsonResponse({"at": at})


async def alog_in(request: HttpRequest) -> JsonResponse:
    user = await aauthenticate(request, username=request.GET["username"], password=PASSWORD)
    at = time.time()
    await alogin(request, user)
    return JsonResponse({"at": at})


def log_out(request: HttpRequest) -> JsonResponse:
    at = time.time()
    logout(request)
    return JsonResponse({"at": at})


async def alog_out(request: HttpRequest) -> JsonResponse:
    at = time.time()
    await alogout(request)
    return JsonResponse({"at": at})


def flush(request: HttpRequest) -> JsonResponse:
    """End the session without a logout and without reading it."""
    at = time.time()
    request.session.flush()
    return JsonResponse({"at": at})


def change_password(request: HttpRequest) -> JsonResponse:
    """Change the password and keep this session, as Django's own view does."""
    request.user.set_password("another password")
    at = time.time()
    request.user.save()
    update_session_auth_hash(request, request.user)
    return JsonResponse({"at": at})


async def achange_password(request: HttpRequest) -> JsonResponse:
    user = await request.auser()
    user.set_password("another password")
    at = time.time()
    await user.asave()
    request.user = user  # Django 5.2 reads it, and the lazy one would query in the event loop.
    await aupdate_session_auth_hash(request, user)
    return JsonResponse({"at": at})


def current_user(request: HttpRequest) -> JsonResponse:
    """Answer with the name of the user, empty if anonymous."""
    return JsonResponse({"name": request.user.get_username(), "at": time.time()})


def make_user(request: HttpRequest) -> JsonResponse:
    """Create ``username``, in ``group`` if given, with each ``flag`` set."""
    user = User.objects.create_user(request.GET["username"], password=PASSWORD)
    if "group" in request.GET:
        user.groups.add(Group.objects.get_or_create(name=request.GET["group"])[0])
    for flag in request.GET.getlist("flag"):
        setattr(user, flag, True)
        user.save()
    return JsonResponse({"id": str(user.pk)})


def rename(request: HttpRequest) -> JsonResponse:
    """Save a user, so that their connections are rechecked."""
    user = User.objects.get(username=request.GET["user"])
    user.last_name = request.GET["name"]
    user.save()
    return JsonResponse({"name": user.last_name})


def _set(**fields: Any) -> Callable[[Any, Any], None]:
    def change(user: Any, group: Any) -> None:
        for name, value in fields.items():
            setattr(user, name, value)
        user.save()

    return change


def _set_password(user: Any, group: Any) -> None:
    user.set_password("another password")
    user.save()


def _rename(user: Any, group: Any) -> None:
    group.name = f"former {group.name}"
    group.save()


def _forbid(user: Any, group: Any) -> None:
    """Delete the row that the rule reads; no signal concerns the user."""
    Note.objects.filter(text=permission(user, "listed:1")).delete()


def _forbid_by_user(user: Any, group: Any) -> None:
    _forbid(user, group)
    refresh_user(user)


def _forbid_by_room(user: Any, group: Any) -> None:
    _forbid(user, group)
    refresh_room("listed:1")


def _permit(user: Any, group: Any) -> None:
    Note.objects.create(text=permission(user, "listed:1"))


def _raw_update(**fields: Any) -> Callable[[Any, Any], None]:
    return lambda user, group: User.objects.filter(pk=user.pk).update(**fields)


def _raw_delete(rows: Any) -> None:
    rows._raw_delete(rows.db)


def _raw_delete_user(user: Any, group: Any) -> None:
    _raw_delete(User.groups.through.objects.filter(user=user))
    _raw_delete(User.objects.filter(pk=user.pk))


def _raw_delete_group(user: Any, group: Any) -> None:
    _raw_delete(User.groups.through.objects.filter(group=group))
    _raw_delete(Group.objects.filter(pk=group.pk))


def _raw_leave(user: Any, group: Any) -> None:
    _raw_delete(User.groups.through.objects.filter(user=user))


CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "deactivate": _set(is_active=False),
    "delete": lambda user, group: user.delete(),
    "set_password": _set_password,
    "not_superuser": _set(is_superuser=False),
    "not_staff": _set(is_staff=False),
    "remove": lambda user, group: user.groups.remove(group),
    "remove_reverse": lambda user, group: group.user_set.remove(user),
    "clear": lambda user, group: user.groups.clear(),
    "clear_reverse": lambda user, group: group.user_set.clear(),
    "replace": lambda user, group: user.groups.set([]),
    "add": lambda user, group: user.groups.add(group),
    "add_reverse": lambda user, group: group.user_set.add(user),
    "delete_group": lambda user, group: group.delete(),
    "rename_group": _rename,
    "permit": _permit,
    "forbid_by_user": _forbid_by_user,
    "forbid_by_room": _forbid_by_room,
    "raw_deactivate": _raw_update(is_active=False),
    "raw_password": _raw_update(password="unusable"),
    "raw_delete": _raw_delete_user,
    "raw_delete_group": _raw_delete_group,
    "raw_leave": _raw_leave,
}


def change(request: HttpRequest, name: str) -> JsonResponse:
    """Make the change ``name`` to ``user`` or ``group`` in one transaction with other work.

    ``at`` is the time of the commit. With ``rollback`` the transaction is rolled back.
    """
    user = User.objects.get(username=request.GET["user"])
    group = Group.objects.filter(name=request.GET.get("group")).first()
    times = {"at": time.time()}
    with transaction.atomic():
        transaction.on_commit(lambda: times.update(at=time.time()))
        Note.objects.create(text=name)
        CHANGES[name](user, group)
        if "rollback" in request.GET:
            transaction.set_rollback(True)
    return JsonResponse(times)


def delete_session(request: HttpRequest) -> JsonResponse:
    """Delete the session with ``key``; no signal is sent."""
    at = time.time()
    lose(request.GET["key"])
    return JsonResponse({"at": at})


urlpatterns = [
    path("login/", log_in),
    path("alogin/", alog_in),
    path("logout/", log_out),
    path("alogout/", alog_out),
    path("flush/", flush),
    path("password/", change_password),
    path("apassword/", achange_password),
    path("user/", current_user),
    path("make/", make_user),
    path("rename/", rename),
    path("delete-session/", delete_session),
    path("change/<name>/", change),
]
