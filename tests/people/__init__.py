"""User models that are not Django's own, each as ``AUTH_USER_MODEL`` of a site."""
