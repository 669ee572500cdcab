"""STPrivacy's blocks and the recognizers."""
