"""From videos to Parquet shards, and from shards to training input."""
