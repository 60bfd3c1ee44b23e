"""``websocket_urlpatterns``, for sites that compose their ASGI application themselves.

They do not use :func:`pm_realtime.asgi.get_asgi_application`. The consumer itself checks the origin
and authenticates the session.
"""

import re

from django.urls import re_path

from pm_realtime.conf import conf
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.layer import expect_sockets

websocket_urlpatterns = [
    re_path(rf"^{re.escape(conf.PATH.strip('/'))}/?$", RealtimeConsumer.as_asgi())
]

expect_sockets()
