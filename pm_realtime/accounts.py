"""Django's accounts, which a site may be without."""

from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured


def has_accounts() -> bool:
    """Whether ``django.contrib.auth`` is installed. Without it nobody can log in with Django."""
    return apps.is_installed("django.contrib.auth")


def user_model() -> Any:
    """The user model; None if the site has none. It may have one without ``contrib.auth``."""
    try:
        return get_user_model()
    except ImproperlyConfigured:
        return None


def is_of_user_model(user: object) -> bool:
    """Whether ``user`` is an object of the user model."""
    model = user_model()
    return model is not None and isinstance(user, model)
