"""The name of a user that others see."""

import logging
import re
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError

from pm_realtime.accounts import ask_resolver
from pm_realtime.conf import conf
from pm_realtime.observability import throttle
from pm_realtime.texts import shown_text

logger = logging.getLogger("pm_realtime.auth")

#: Also addresses that are not valid, which people may have given as their username.
_ADDRESS: Final = re.compile(r"[^\s@]@[^\s@]")
#: With what separates it from other parts of a name, as in "None, Ada" or "Ada (None)".
_NONE: Final = re.compile(r"[\s,;/-]*\(?\bNone\b\)?[\s,;/-]*")


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
        found = _call(found)
    name = (shown_text(found) or "").strip()
    if _NONE.search(name) and not _has_none(user):
        name = _NONE.sub(" ", name).strip()
    return "" if _ADDRESS.search(name) else name


def _call(method: Any) -> Any:
    """The result of ``method``; None if it raises, as it may do for fields that are None.

    A user is not kept out because of a name.
    """
    try:
        return method()
    except DatabaseError:
        raise
    except Exception as error:
        if throttle.note_error(error):
            logger.exception("The name of a user could not be read; others see none of it.")
        return None


def _has_none(user: Any) -> bool:
    """Whether "None" is part of a text of ``user``, and so may be a name."""
    # The user of a site's own middleware may be lazy.
    fields = getattr(getattr(user, "_wrapped", user), "__dict__", {})
    return any(_NONE.search(text) for text in fields.values() if isinstance(text, str))
