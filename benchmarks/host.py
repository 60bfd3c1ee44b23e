"""The cores of this machine, and the CPU and memory of processes. Linux only: it reads /proc."""

import contextlib
import os
import platform
import resource
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


def all_cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def cores() -> tuple[set[int], set[int]]:
    """A core for the server, and one for the load generator and Redis."""
    found = all_cores()
    return {found[0]}, {found[-1]}


def cores_for(processes: int) -> tuple[set[int], set[int]]:
    """Cores for the server ``processes``, and for the load generator.

    If none is left for the load generator, all processes share all cores.
    """
    found = all_cores()
    if processes < len(found):
        return set(found[:processes]), {found[-1]}
    return set(found), set(found)


@contextlib.contextmanager
def pinned(where: Iterable[int]) -> Iterator[None]:
    """Run the processes that are started in this context on the cores ``where``."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, where)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def check() -> None:
    """Raise ``OSError`` if this system does not report the CPU of child processes."""
    if not Path("/proc/thread-self/children").exists():
        raise OSError("Expected Linux with /proc/<pid>/task/<tid>/children; found none.")


def raise_file_limit() -> int:
    """Allow as many open files as possible, for this process and its children."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = 100_000 if hard == resource.RLIM_INFINITY else min(hard, 100_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for parent in found:
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, path.read_text().split())
    return found


def families(pids: Sequence[int]) -> set[int]:
    return {each for pid in pids for each in family(pid)}


def cpu(pids: Sequence[int]) -> float:
    """Seconds of CPU of the processes and their descendants, ended ones included."""
    total = 0
    for pid in families(pids):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            total += sum(map(int, fields[11:15]))
    return total * TICK_SECONDS


def busy() -> float:
    """Seconds of CPU that all cores together have spent, for any process."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) * TICK_SECONDS


def memory(pids: Sequence[int]) -> int:
    """Bytes of RAM of the processes and their descendants. Shared memory counts once (PSS)."""
    total = 0
    for pid in families(pids):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def describe() -> dict[str, str]:
    """The description of the machine in the report."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": str(len(all_cores())),
        "memory": f"{pages / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
    }


def package_version(name: str) -> str:
    """``name`` with its installed version; ``name`` alone if no such package is installed."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return name
