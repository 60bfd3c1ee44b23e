from pm_realtime.asgi import get_asgi_application

application = get_asgi_application()
