"""Trained anonymizers at work: loading one, and running it on videos of any length."""
