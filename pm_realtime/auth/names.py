"""The name of a user that others see."""

import re
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from pm_realtime.accounts import ask_resolver
from pm_realtime.conf import conf
from pm_realtime.texts import shown_text

#: Also addresses that are not valid, which people may have given as their username.
_ADDRESS: Final = re.compile(r"[^\s@]@[^\s@]")


def name_of(user: Any) -> str:
    """The name of ``user`` by ``NAME_RESOLVER``; empty if there is none. May query the database.

    Raises ``ImproperlyConfigured`` if the resolver returns a value that is not a text.
    """
    if conf.NAME_RESOLVER is None:
        return _default_name(user)
    found = ask_resolver("NAME_RESOLVER", conf.NAME_RESOLVER, user)
    name = "" if found is None else shown_text(found)
    if name is None:
        raise ImproperlyConfigured(f"{conf.NAME_RESOLVER} must return a text, got {found!r}.")
    return name


def _default_name(user: Any) -> str:
    """The full name, else the username. Neither is shown if it is an e-mail address."""
    if name := _shown(user, "get_full_name"):
        return name
    model = user.__class__
    address_field = getattr(model, "get_email_field_name", lambda: None)()
    if address_field is not None and address_field == getattr(model, "USERNAME_FIELD", None):
        return ""
    return _shown(user, "get_username")


def _shown(user: Any, method: str) -> str:
    """The result of ``method`` of ``user``; empty if that is no name for others."""
    found = getattr(user, method, None)
    if callable(found):
        found = found()
    name = (shown_text(found) or "").strip()
    if "None" in name.split():
        name = _without_none(user, name)
    return "" if _ADDRESS.search(name) else name


def _without_none(user: Any, name: str) -> str:
    """``name`` without each "None" that stands for an empty field, and not for a name."""
    fields = [value.split() for value in vars(user).values() if isinstance(value, str)]
    if any("None" in words for words in fields):
        return name
    return " ".join(word for word in name.split() if word != "None")
