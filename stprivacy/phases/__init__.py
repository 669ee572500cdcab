"""The three phases of training, and what they need from a launcher."""
