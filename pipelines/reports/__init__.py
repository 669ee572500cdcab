"""The report of finished evaluations: found, grouped into what may be compared, drawn, and laid out as one page."""
