"""MLflow: what it is told about a run, from where, and how it survives an outage."""
