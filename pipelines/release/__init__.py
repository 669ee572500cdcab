"""Trained networks out into the world: anonymised videos, and networks for other runtimes."""
