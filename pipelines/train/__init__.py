"""Runs on Ray Train: launch, follow, survive."""
