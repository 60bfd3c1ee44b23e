"""The load generator: one process, on a core of its own, that holds all sockets of a measurement.

It speaks through picows on uvloop, counts every message at every socket, and is driven line by line
(see :mod:`benchmarks.load.__main__`).
"""
