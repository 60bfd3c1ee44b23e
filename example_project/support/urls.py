"""The URLs of the demo's pages."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("login/", views.DemoLoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("support/", views.support, name="support"),
    path("vue/", views.vue, name="vue"),
    path("contact/", views.contact, name="contact"),
    path("notifications/", views.notifications, name="notifications"),
    path("notifications/send/", views.send_notification, name="send_notification"),
]
