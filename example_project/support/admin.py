from django.contrib import admin

from .models import ContactMessage


@admin.register(ContactMessage)
class ContactMessageAdmin(admin.ModelAdmin):
    list_display = ["subject", "name", "email", "created"]
    search_fields = ["subject", "name", "email", "body"]
    date_hierarchy = "created"
    readonly_fields = ["created"]
