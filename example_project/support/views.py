"""The pages of the demo."""

import secrets
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.contrib.staticfiles import finders
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from .access import notifiers_only
from .demo_users import demo_people
from .forms import ContactForm, NotificationForm
from .middleware import POLICY
from .realtime import show_contact

#: Vue without its template compiler, which a strict Content-Security-Policy does not allow.
VUE = "vue/vue.runtime.esm-browser.prod.js"


class DemoLoginView(LoginView):
    """Django's login. With DEBUG it offers the demo users."""

    template_name = "support/login.html"
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        people = demo_people() if settings.DEBUG else ()
        return super().get_context_data(**kwargs, people=people)


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The features that are open to the visitor's role."""
    return render(request, "support/home.html")


@require_safe
@login_required
def support(request: HttpRequest) -> HttpResponse:
    """The support chat. The room itself decides whether the visitor may join."""
    return render(request, "support/support.html")


@require_safe
@login_required
def vue(request: HttpRequest) -> HttpResponse:
    """The support room in Vue components, if Vue is installed."""
    # The import map for "vue" is the only inline script.
    nonce = secrets.token_urlsafe(16)
    found = VUE if finders.find(VUE) else None
    response = render(request, "support/vue.html", {"vue": found, "csp_nonce": nonce})
    response.headers["Content-Security-Policy"] = f"{POLICY}; script-src 'self' 'nonce-{nonce}'"
    return response


def contact(request: HttpRequest) -> HttpResponse:
    """The public contact form. The push to the support room waits for the commit."""
    form = ContactForm(request.POST or None, initial=_own_details(request))
    if form.is_valid():
        with transaction.atomic():
            message = form.save()
            show_contact(message)
        messages.success(request, "Thank you. Your message is with our support team.")
        return redirect("contact")
    status = 422 if form.is_bound else 200
    return render(request, "support/contact.html", {"form": form}, status=status)


@require_safe
@notifiers_only
def notifications(request: HttpRequest) -> HttpResponse:
    """Incoming notifications, and a form to send one."""
    return render(request, "support/notifications.html", {"form": NotificationForm()})


@require_POST
@notifiers_only
def send_notification(request: HttpRequest) -> HttpResponse:
    """Send a notification. The response is JSON for the page's script, else a page."""
    wants_json = request.get_preferred_type(["text/html", "application/json"]) == "application/json"
    form = NotificationForm(request.POST)
    if not form.is_valid():
        if wants_json:
            return JsonResponse({"errors": form.errors}, status=422)
        return render(request, "support/notifications.html", {"form": form}, status=422)
    sent = f"Sent to {form.send()}."
    if wants_json:
        return JsonResponse({"sent": sent})
    messages.success(request, sent)
    return redirect("notifications")


def _own_details(request: HttpRequest) -> dict[str, str]:
    if not request.user.is_authenticated:
        return {}
    return {"name": request.user.get_full_name(), "email": request.user.email}
