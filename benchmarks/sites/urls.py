"""No pages: everything comes in through WebSockets."""

urlpatterns: list[object] = []
