"""The search of trade-offs: what is tried, in which order, on Ray Tune, and the front that it gives."""
