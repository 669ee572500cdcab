"""What an evaluation measures: predictions over views, and which tubelets were kept."""
