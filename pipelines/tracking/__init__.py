"""MLflow: what it records about a run, from where, and how that survives an outage."""
