"""A session engine of the site itself: what ``revoked`` names is no session."""

from django.contrib.sessions.backends import db

revoked: set[str] = set()


class SessionStore(db.SessionStore):
    def load(self):
        return {} if self.session_key in revoked else super().load()
