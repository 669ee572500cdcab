"""Command lines: parse, pick a recipe, call, print."""
