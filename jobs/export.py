"""Write a trained STPrivacy for other runtimes, as ONNX or as PyTorch's own export, after checking it on real clips."""

import sys

import tyro

from pipelines.release.export_command import export_command

if __name__ == "__main__":
    try:
        tyro.cli(export_command)
    except ValueError as error:
        sys.exit(f"error: {error}")
