"""The Django signals this app sends, each from the process that holds the connection.

All carry ``connection_id`` and ``user`` (an ``AnonymousUser`` for an anonymous connection):

``connected``     the ``connected`` frame was sent
``disconnected``  ``code`` (int): the close code; ``seconds`` (float): the time it was open
``joined``        ``room``
``left``          ``room``, ``reason`` (None if the client unsubscribed or disconnected)
``refused``       ``code``: an error code (str) or a close code (int); ``room`` or None. Not sent
                  for a flood of handshakes, which receivers would make costly; the log counts it

A receiver may be sync (it runs in a thread and may use the ORM) or async. An exception of a
receiver is logged and has no other effect.
"""

from django.dispatch import Signal

connected = Signal()
disconnected = Signal()
joined = Signal()
left = Signal()
refused = Signal()
