"""The site with a consumer that soon gives up clients that do not read."""

from pm_realtime.asgi import Application, get_asgi_application
from pm_realtime.connection import RealtimeConsumer
from pm_realtime.connection.timings import ConnectionTimings


class QuickConsumer(RealtimeConsumer):
    connection_timings = ConnectionTimings(flush_seconds=0.5, linger_seconds=0.5, unread_seconds=1)


application = Application(get_asgi_application().http, QuickConsumer.as_asgi())
