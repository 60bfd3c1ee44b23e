"""A session engine of the site's own, in which sessions with a key in ``revoked`` are empty."""

from django.contrib.sessions.backends import db

revoked: set[str] = set()


class SessionStore(db.SessionStore):
    def load(self):
        return {} if self.session_key in revoked else super().load()
