"""The servers that the benchmarks start: each a process of its own, and started with its port."""
