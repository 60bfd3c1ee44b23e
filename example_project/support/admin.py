from django.contrib import admin

from .models import ContactMessage, SupportMessage


@admin.register(ContactMessage)
class ContactMessageAdmin(admin.ModelAdmin):
    list_display = ["subject", "name", "email", "created", "solved_by"]
    search_fields = ["subject", "name", "email", "body"]
    date_hierarchy = "created"
    readonly_fields = ["created"]


@admin.register(SupportMessage)
class SupportMessageAdmin(admin.ModelAdmin):
    list_display = ["text", "author", "created", "solved_by"]
    search_fields = ["text"]
    date_hierarchy = "created"
    readonly_fields = ["created"]
