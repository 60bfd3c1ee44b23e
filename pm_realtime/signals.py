"""The Django signals this app sends, each from the process that holds the connection.

All carry ``connection_id`` and ``user`` (an ``AnonymousUser`` where nobody is logged in):

``connected``     the ``connected`` frame was sent
``disconnected``  ``code`` (int): the close code; ``seconds`` (float): how long it was open
``joined``        ``room``
``left``          ``room``, ``reason`` (None where the client asked for it or went away)
``refused``       ``code``: an error code (text) or a close code (int); ``room`` or None. Not for
                  a flood of handshakes, which receivers would make costly: the log counts it

A receiver may be sync (it runs in a thread, so it may use the ORM) or async. One that raises is
logged and harms nothing.
"""

from django.dispatch import Signal

connected = Signal()
disconnected = Signal()
joined = Signal()
left = Signal()
refused = Signal()
