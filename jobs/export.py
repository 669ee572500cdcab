"""Write a trained STPrivacy for other runtimes, as ONNX or as PyTorch's own export, after checking it on real clips."""

from pipelines.cli import run


def main() -> None:
    """Write the file."""
    import tyro

    from pipelines.cli.export import export_command

    tyro.cli(export_command)


if __name__ == "__main__":
    run(main)
