"""The line under every table: where and with what it was measured."""

import os
import time
from importlib.metadata import version
from pathlib import Path


def machine_line(*packages: str) -> str:
    """CPU model, number of CPUs, versions of the packages, date."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"{models[0] if models else 'CPU'}, {os.cpu_count()} CPUs; {versions}; {time.strftime('%Y-%m-%d')}"
