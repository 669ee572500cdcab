"""STPrivacy in pure PyTorch: models, losses, training phases and metrics, without Ray, MLflow or Arrow."""
