"""Reading video files: frames in order, upright, resized and timed."""
