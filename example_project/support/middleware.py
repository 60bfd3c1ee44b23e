"""Headers of the demo's responses."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Let pages load only this site's own files: no inline script, no inline style."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        # Django's own debug pages have inline styles.
        if response.status_code != 404 and response.status_code < 500:
            response.headers.setdefault("Content-Security-Policy", POLICY)
        return response

    return middleware
