"""The line under every table, where and with what it was measured, and what this process takes of the machine."""

import os
import time
from importlib.metadata import version
from pathlib import Path


def forget_peak() -> None:
    """Have "VmHWM", this process's highest resident size, start anew."""
    Path("/proc/self/clear_refs").write_text("5")


def resident_kib(field: str) -> int:
    """A size of this process by its name in /proc/self/status: "VmRSS" now, "VmHWM" at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def machine_line(*packages: str) -> str:
    """CPU model, number of CPUs, versions of the packages, date."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"{models[0] if models else 'CPU'}, {os.cpu_count()} CPUs; {versions}; {time.strftime('%Y-%m-%d')}"
