"""Scores of predictions: actions, private attributes, rankings, intervals and fronts."""

from stprivacy.metrics.scores import action_scores, privacy_scores

__all__ = ["action_scores", "privacy_scores"]
