"""``{% realtime_client %}``, the browser client as the settings configure it, and the position of
a room in a page, ``{% realtime_room %}``.
"""

import json
from typing import Any, Final

from django import template
from django.template import Context, TemplateSyntaxError
from django.templatetags.static import static
from django.urls import get_script_prefix
from django.utils.html import format_html
from django.utils.safestring import SafeString

from pm_realtime.conf import as_javascript, conf, describe_fault
from pm_realtime.pages import cursor_of_page
from pm_realtime.texts import plain_text

MODULE: Final = "pm_realtime/client.js"
#: Loaded by that module for the option ``shared``.
SHARED_MODULE: Final = "pm_realtime/shared.js"

register = template.Library()


@register.simple_tag(takes_context=True)
def realtime_client(context: Context, nonce: object = None, **options: Any) -> SafeString:
    """Render the script tag that creates the page's client, ``window.realtime``.

    It is one request, under any name that the storage of static files gives to the module. For
    ``shared``, a link has the browser load the second module at the same time.

    ``options`` are those of ``createRealtime`` in Python's spelling, such as ``auto_connect``. They
    override ``PM_REALTIME["CLIENT"]``. For ``max_reconnect_attempts``, None and infinity mean an
    unlimited number. Any other option that is None or empty is left out, so ``shared=user.pk``
    also works on a page of an anonymous user. The URL is ``PATH`` on the page's host, or ``url``.
    ``nonce`` is that of the page's Content-Security-Policy; those of Django and django-csp are used
    by default. Raises ``TemplateSyntaxError`` if an option does not exist or has an invalid value.
    """
    if fault := describe_fault(options):
        raise TemplateSyntaxError(f"realtime_client got {fault}")
    url = get_script_prefix() + conf.PATH.strip("/")
    given = {"url": url, **as_javascript(conf.CLIENT), **as_javascript(options)}
    of_page = _nonce_attribute(_page_nonce(context) if nonce is None else nonce)
    preload, shared = "", ""
    if given.get("shared"):
        address = static(SHARED_MODULE)
        preload = format_html('<link rel="modulepreload" href="{}"{}>', address, of_page)
        shared = format_html(' data-pm-shared="{}"', address)
    return format_html(
        '{}<script type="module" src="{}"{}{} data-pm-realtime="{}"></script>',
        preload,
        static(MODULE),
        of_page,
        shared,
        json.dumps(given),
    )


@register.simple_tag(takes_context=True)
def realtime_room(context: Context, room: Any) -> SafeString:
    """Render the name of ``room`` and its position, at which ``subscribe(room)`` begins.

    The position is that of the decorator ``@realtime_room`` on the view. Without it, it is the one
    at the time of this tag, so the tag must stand above all that makes queries for the room. The
    element is a data block: no script, and nothing that a Content-Security-Policy forbids. Raises
    ``ValueError`` if ``room`` is no name of a room.
    """
    cursor = cursor_of_page(_request_of(context), room)
    return format_html(
        '<script type="application/json" data-pm-room="{}" data-pm-cursor="{}"></script>',
        plain_text(room),
        cursor or "",
    )


def _request_of(context: Context) -> Any:
    """Return the page's request, also without Django's context processor for it, or None."""
    return getattr(context, "request", None) or context.get("request")


def _page_nonce(context: Context) -> object:
    """Return the nonce of Django's context processor, else of django-csp's middleware, or None."""
    found = context.get("csp_nonce")
    return getattr(_request_of(context), "csp_nonce", None) if found is None else found


def _nonce_attribute(nonce: object) -> str:
    # Both are lazy, and false until they are read.
    text = "" if nonce is None else str(nonce)
    return format_html(' nonce="{}"', text) if text else ""
