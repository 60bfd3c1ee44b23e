"""``path("", include("pm_realtime.urls"))``: 426 for plain HTTP on the path of the WebSocket."""

import re

from django.urls import re_path

from pm_realtime.conf import conf
from pm_realtime.views import upgrade_required

app_name = "pm_realtime"

urlpatterns = [
    re_path(rf"^{re.escape(conf.PATH.strip('/'))}/?$", upgrade_required, name="websocket")
]
