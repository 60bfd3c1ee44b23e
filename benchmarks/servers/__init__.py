"""The servers that the benchmarks start, each as a process with its port as the argument."""
