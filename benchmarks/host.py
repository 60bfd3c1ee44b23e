"""This machine: its cores, and what processes use of it; reads /proc, so Linux."""

import contextlib
import os
import platform
import resource
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")


def all_cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def cores() -> tuple[set[int], set[int]]:
    """A core for the server, and one for the load generator and Redis."""
    found = all_cores()
    return {found[0]}, {found[-1]}


def cores_for(processes: int) -> tuple[set[int], set[int]]:
    """Cores for so many server processes, and for the load generator.

    Where there is none left for it, all share all cores.
    """
    found = all_cores()
    if processes < len(found):
        return set(found[:processes]), {found[-1]}
    return set(found), set(found)


@contextlib.contextmanager
def pinned(where: Iterable[int]) -> Iterator[None]:
    """Processes started meanwhile run on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, where)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def check() -> None:
    """Raise ``OSError`` where this system does not tell what is measured."""
    if not Path("/proc/thread-self/children").exists():
        raise OSError("Expected Linux with /proc/<pid>/task/<tid>/children; found none.")


def raise_file_limit() -> int:
    """As many open files as may be, for this process and those it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = 100_000 if hard == resource.RLIM_INFINITY else min(hard, 100_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


def family(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for parent in found:
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, path.read_text().split())
    return found


def families(pids: Sequence[int]) -> set[int]:
    return {each for pid in pids for each in family(pid)}


def cpu(pids: Sequence[int]) -> float:
    """Seconds of CPU that the processes and all below them have used, also those that ended."""
    total = 0
    for pid in families(pids):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            total += sum(map(int, fields[11:15]))
    return total * TICK


def busy() -> float:
    """Seconds of CPU that all cores together have worked, for whomever."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) * TICK


def memory(pids: Sequence[int]) -> int:
    """Bytes of RAM of the processes and all below them; what they share is counted once (PSS)."""
    total = 0
    for pid in families(pids):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def describe() -> dict[str, str]:
    """The machine, as the report names it."""
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
    """``name`` with the version that is installed; as it is where there is none of that name."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return name
