from django.urls import include, path

from tests.site import accounts, pages, stream, timing, views

urlpatterns = [
    path("", include("pm_realtime.urls")),
    path("accounts/", include(accounts.urlpatterns)),
    path("", include(pages)),
    path("push/", views.push),
    path("apush/", views.apush),
    path("volatile/", views.volatile),
    path("burst/", views.burst),
    path("pool/", views.pool),
    path("transaction/", views.in_transaction),
    path("saved/", views.saved),
    path("each/", views.each),
    path("push-to/<uuid:user>/", views.push_to_user),
    path("notes/", views.notes),
    path("online/", views.online),
    path("stream/start/<room>/", stream.start),
    path("stream/stop/", stream.stop),
    path("time/<name>/", timing.timed),
    path("stats/", views.stats),
    path("memory/", views.memory),
    path("waiting/", views.waiting),
]
