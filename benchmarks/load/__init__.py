"""The load generator: one process, on a core of its own, with all sockets of a measurement.

It uses picows on uvloop and counts every message at every socket. Its commands are lines of JSON
(see :mod:`benchmarks.load.__main__`).
"""
