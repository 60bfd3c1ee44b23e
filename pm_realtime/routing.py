"""``websocket_urlpatterns``, for sites that compose their ASGI application themselves.

They do not use :func:`pm_realtime.asgi.get_asgi_application`. The consumer itself checks the origin
and authenticates the session.
"""

import re

from django.conf import settings
from django.urls import re_path

from pm_realtime.conf import conf
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.layer import expect_sockets

#: Of URLs below FORCE_SCRIPT_NAME. URLRouter removes only the server's root_path.
_PREFIX = re.escape((settings.FORCE_SCRIPT_NAME or "").strip("/"))

websocket_urlpatterns = [
    re_path(rf"^(?:{_PREFIX}/)?{re.escape(conf.PATH.strip('/'))}/?$", RealtimeConsumer.as_asgi())
]

expect_sockets()
