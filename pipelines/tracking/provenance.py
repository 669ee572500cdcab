"""What a result was made with: the commit of the source and the versions that are installed."""

import subprocess
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

_SOURCE = Path(__file__).resolve()
_GIT_SECONDS = 10


@cache
def source_tags() -> dict[str, str]:
    """MLflow tags of the commit and of whether tracked files differ from it; none where the source is not under git."""
    # Installed inside somebody's repository, the source is none of its files.
    commit = _git("ls-files", "--error-unmatch", _SOURCE.name) and _git("rev-parse", "HEAD")
    if not commit:
        return {}
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {"mlflow.source.git.commit": commit, "stprivacy.git_dirty": "true" if changed else "false"}


@cache
def installed_versions() -> str:
    """The installed distributions, a `name==version` a line, sorted: what requirements files look like."""
    found = {(d.metadata["Name"] or "").lower(): d for d in distributions()}
    return "".join(f"{found[name].metadata['Name']}=={found[name].version}\n" for name in sorted(found) if name)


def _git(*arguments: str) -> str:
    """What git prints; nothing where there is no git, no repository, or one that git mistrusts."""
    command = ["git", "-C", str(_SOURCE.parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
