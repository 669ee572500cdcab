"""The commands as scripts, for a checkout: see pipelines/cli/main.py."""
