"""Receivers of Django's signals for users, groups and sessions, which send control messages.

The messages wait for the commit, except for a session in a cache or a file, which does not wait
either. A failure here never fails the request. Changes without a signal (``QuerySet.update()``, a
row deleted by SQL) are found by the sweep of the rechecker.
"""

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, Final, ParamSpec

from django.apps import apps
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save

from pm_realtime.accounts import key_of, user_model
from pm_realtime.auth import sessions
from pm_realtime.auth.users import is_default_resolver
from pm_realtime.conf import conf
from pm_realtime.layer import (
    Close,
    CookieExpected,
    CookieRenewed,
    SessionEnded,
    SessionRekeyed,
    authenticated_group,
    user_group,
)
from pm_realtime.protocol import CloseCode
from pm_realtime.push import refresh_after_commit, send_control, user_key

logger = logging.getLogger("pm_realtime.auth")

P = ParamSpec("P")

_NAME: Final = "pm_realtime.receivers"
#: The attribute of a session store with a new key: the control message for its next save.
_REKEYED: Final = "_pm_realtime_rekeyed"
#: Fields that decide about a login or a role, whatever ``RIGHTS_IGNORE`` says.
_LOGIN_FIELDS: Final = frozenset({"password", "is_active", "is_staff", "is_superuser"})
#: If one signal changes more users than this, a single message refreshes all connections.
MAX_REFRESHED_USERS: Final = 50


def _harmless(receive: Callable[P, None]) -> Callable[P, None]:
    """``receive`` with its errors logged, so that they do not reach the sender of the signal."""

    @wraps(receive)
    def harmless(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            receive(*args, **kwargs)
        except Exception:
            logger.exception("A change of a user or a session could not be sent to connections.")

    return harmless


def connect_receivers() -> None:
    """Connect the signals of the user model and of its relations, such as groups.

    Does nothing on a site without a user model.
    """
    if user_model() is None:
        return
    user_logged_in.connect(_name_session, dispatch_uid=_NAME)
    user_logged_out.connect(_end_session, dispatch_uid=_NAME)
    setting_changed.connect(_reconnect, dispatch_uid=_NAME)
    sessions.connect_hooks(on_rekey=_follow_rekey, on_save=_follow_save, on_end=_end_flushed)
    for model in _user_models():
        post_save.connect(_refresh_saved, sender=model, dispatch_uid=_NAME)
        post_delete.connect(_close_deleted, sender=model, dispatch_uid=_NAME)
    fields: Any = get_user_model()._meta.many_to_many
    for field in fields:
        through, related = field.remote_field.through, field.remote_field.model
        m2m_changed.connect(_refresh_related, sender=through, dispatch_uid=_NAME)
        post_save.connect(_refresh_member, sender=through, dispatch_uid=_NAME)
        post_delete.connect(_refresh_member, sender=through, dispatch_uid=_NAME)
        if field.name == "groups":
            post_save.connect(_refresh_all, sender=related, dispatch_uid=_NAME)
            post_delete.connect(_refresh_all, sender=related, dispatch_uid=_NAME)
            for held in related._meta.many_to_many:
                through = held.remote_field.through
                m2m_changed.connect(_refresh_all, sender=through, dispatch_uid=_NAME)


def _reconnect(*, setting: str, **kwargs: Any) -> None:
    if setting in ("AUTH_USER_MODEL", "SESSION_ENGINE"):
        connect_receivers()


def _user_models() -> list[type[Model]]:
    """The user model and the models of the same rows: each is a sender of its own.

    These are its proxies and child models, and the models that it is a proxy or child of.
    """
    user: Any = get_user_model()._meta.concrete_model
    return [each for each in apps.get_models() if issubclass(each, user) or issubclass(user, each)]


@_harmless
def _name_session(*, request: Any, **kwargs: Any) -> None:
    """Give a signed-cookie session the name by which its connections are found."""
    if sessions.are_in_cookies():
        request.session.setdefault(sessions.NAME_KEY, secrets.token_hex(16))


@_harmless
def _end_session(*, request: Any, user: Any, **kwargs: Any) -> None:
    session = getattr(request, "session", None)
    key = getattr(session, "session_key", None)
    if session is not None and key and user is not None:
        _send_ended(user_group(user_key(user)), sessions.name_of(key, session))


@_harmless
def _end_flushed(key: str, data: Mapping[str, Any], store: Any) -> None:
    target = _group_of(data)
    if target is not None:
        _send_ended(target, sessions.name_of(key, data))


def _send_ended(target: str, session: str) -> None:
    send_control(target, SessionEnded(session), on_commit=sessions.waits_for_commit())


@_harmless
def _follow_rekey(key: str, data: Mapping[str, Any], store: Any) -> None:
    """Report that the browser will get a new cookie, when the response is ready."""
    target, name = _group_of(data), sessions.name_of(key, data)
    if target is None or not store.session_key:
        return
    if sessions.are_in_cookies():
        send_control(target, CookieExpected(name))
    elif store.session_key != key:
        store.__dict__[_REKEYED] = target, SessionRekeyed(name)
        send_control(target, CookieExpected(name), on_commit=sessions.waits_for_commit())


@_harmless
def _follow_save(key: str, data: Mapping[str, Any], store: Any) -> None:
    """Report that the response with a new cookie is ready.

    The clients of a session with a new key have to come back with it. A signed cookie may be equal
    to the old one within a second.
    """
    target = _group_of(data)
    if not sessions.are_in_cookies():
        rekeyed = store.__dict__.pop(_REKEYED, None)
        if rekeyed is not None:
            send_control(*rekeyed, on_commit=sessions.waits_for_commit())
    elif target is not None and store.session_key:
        name, auth_hash = sessions.name_of(key, data), data.get(HASH_SESSION_KEY, "")
        send_control(target, CookieRenewed(name, auth_hash, sessions.expiry_of(store)))


def _group_of(data: Mapping[str, Any]) -> str | None:
    try:
        return user_group(user_key(data.get(SESSION_KEY)))
    except ValueError:
        return None


@_harmless
def _refresh_saved(
    *,
    sender: Any,
    instance: Any,
    created: bool,
    update_fields: frozenset[str] | None,
    **kwargs: Any,
) -> None:
    # A new user has no connection, and each login saves its time.
    if created or (update_fields and _are_ignored(update_fields)):
        return
    # A child model has fields that the user of a connection was read without.
    user: Any = get_user_model()._meta.concrete_model
    _refresh(key_of(instance), if_changed=issubclass(user, sender._meta.concrete_model))


def _are_ignored(fields: Iterable[str]) -> bool:
    """Whether neither rules nor logins nor the default resolver go by ``fields``.

    False if a setting is invalid: the change is reported then.
    """
    try:
        return is_default_resolver() and _LOGIN_FIELDS.isdisjoint(fields) and _ask_no_rule(fields)
    except ImproperlyConfigured:
        return False


def _ask_no_rule(fields: Iterable[str]) -> bool:
    try:
        return set(conf.RIGHTS_IGNORE).issuperset(fields)
    except ImproperlyConfigured:
        return False


@_harmless
def _close_deleted(*, sender: Any, instance: Any, **kwargs: Any) -> None:
    if sender._meta.concrete_model is not get_user_model()._meta.concrete_model:
        _refresh(key_of(instance))  # A row of a child model: its user may stay.
        return
    close = Close(int(CloseCode.USER_GONE), "the user is gone")
    send_control(user_group(user_key(key_of(instance))), close)


@_harmless
def _refresh_related(
    *,
    sender: Any,
    instance: Any,
    action: str,
    reverse: bool,
    pk_set: set[Any] | None,
    **kwargs: Any,
) -> None:
    if not action.startswith("post_"):
        return
    if_changed = _ask_no_rule(field.name for field in _relations_through(sender))
    users = pk_set if reverse else {key_of(instance)}
    if users is None or len(users) > MAX_REFRESHED_USERS:
        refresh_after_commit(authenticated_group(), if_changed=if_changed)
        return
    for user in users:
        _refresh(user, if_changed=if_changed)


@_harmless
def _refresh_member(*, sender: Any, instance: Any, **kwargs: Any) -> None:
    """Follow a row of a site's own model between users and groups, saved or deleted."""
    for field in _relations_through(sender):
        user = getattr(instance, sender._meta.get_field(field.m2m_field_name()).attname)
        _refresh(user, if_changed=_ask_no_rule([field.name]))


def _relations_through(model: Any) -> list[Any]:
    fields: Any = get_user_model()._meta.many_to_many
    return [field for field in fields if field.remote_field.through is model]


def _refresh(user: Any, *, if_changed: bool = False) -> None:
    refresh_after_commit(user_group(user_key(user)), if_changed=if_changed)


@_harmless
def _refresh_all(*, created: bool = False, action: str = "", **kwargs: Any) -> None:
    if not created and not action.startswith("pre_"):
        refresh_after_commit(authenticated_group())
