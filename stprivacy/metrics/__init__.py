"""Scores of predictions: actions, private attributes, rankings, intervals and fronts."""
