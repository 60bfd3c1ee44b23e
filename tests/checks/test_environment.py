"""Checks of the ASGI server."""

import sys

import pytest
from django.conf import settings as django_settings

from tests.checks.messages import (
    only,
)


def test_w001_no_asgi_server_is_installed(check, monkeypatch):
    for module in ("daphne", "uvicorn", "hypercorn", "granian"):
        monkeypatch.setitem(sys.modules, module, None)
    message = only(check({}), "W001")
    assert "daphne, uvicorn, hypercorn, granian" in message.msg
    assert "pip install daphne" in message.hint


@pytest.fixture
def daphne_listed(monkeypatch):
    """``INSTALLED_APPS`` names daphne; the app itself, which changes its process, is not loaded."""
    apps = ["daphne", *django_settings.INSTALLED_APPS]
    monkeypatch.setattr(django_settings, "INSTALLED_APPS", apps)


@pytest.mark.usefixtures("daphne_listed")
@pytest.mark.parametrize("application", [None, ""])
def test_w005_daphne_without_an_application(check, application):
    message = only(check({}, ASGI_APPLICATION=application), "W005")
    assert "ASGI_APPLICATION is not set" in message.msg


@pytest.mark.usefixtures("daphne_listed")
def test_daphne_with_an_application_gets_no_message(check):
    assert check({}) == []
