"""What an anonymizer is trained against in phase 2: one file for each method's privacy objective."""
