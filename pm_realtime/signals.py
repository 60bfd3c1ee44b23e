"""The Django signals this app sends, each from the process that holds the connection.

All carry ``connection_id`` and ``user`` (an ``AnonymousUser`` for an anonymous connection):

``connected``     the ``connected`` frame was sent
``disconnected``  ``code`` (int): the close code; ``seconds`` (float): the time it was open
``joined``        ``room``
``left``          ``room``, ``reason`` (None if the client unsubscribed or disconnected)
``arrived``       ``room``, ``key``: a member of a room with presence has come. Once, from one of
                  the processes; without ``connection_id``
``departed``      ``room``, ``key``, ``seconds`` (float): the member has gone, after the grace of
                  the room. ``user`` is None if it was deleted. Otherwise as ``arrived``
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
arrived = Signal()
departed = Signal()
refused = Signal()
