"""STPrivacy in pure PyTorch: models, losses, training phases and metrics, without Ray, MLflow or Arrow.

`stprivacy.load(run)` is the trained anonymizer of a run as a function from frames to anonymised frames.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stprivacy.deploy.front_door import FrameAnonymizer, load

__all__ = ["FrameAnonymizer", "load"]


def __getattr__(name: str) -> Any:
    """What is public, once it is asked for: importing this package takes no time, PyTorch takes seconds."""
    if name in __all__:
        return getattr(import_module("stprivacy.deploy.front_door"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
