"""How much memory the machine, or the container in it, has."""

from __future__ import annotations

import os
from pathlib import Path

GROUPS = Path("/proc/self/cgroup")  # which control groups this process is in, on Linux
# where the limits of control groups lie, by version: folder and file
LIMITS = {
    2: (Path("/sys/fs/cgroup"), "memory.max"),
    1: (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
}


def total_memory() -> int:
    """Return the bytes of memory of the machine or the container, 0 where the system says none."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0
    return min([machine, *limits()])


def limits() -> list[int]:
    """Return what the control groups of this process, and those above them, allow in bytes."""
    found = []
    for line in read_system_file(GROUPS).splitlines():
        number, controllers, path = line.split(":", 2)
        if number != "0" and "memory" not in controllers.split(","):
            continue
        root, name = LIMITS[2 if number == "0" else 1]
        own = root / path.lstrip("/")
        # inside a container the path may be the host's, and the limit lies at the root
        groups = [folder for folder in (own, *own.parents) if folder.is_relative_to(root)]
        texts = (read_system_file(folder / name).strip() for folder in groups)
        found += [int(text) for text in texts if text.isdecimal()]  # "max" is none
    return found


def read_system_file(path: Path) -> str:
    """Return a file of the system, "" where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
