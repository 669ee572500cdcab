"""One question a file; each prints a table of ratios to a limit measured in the same run."""
