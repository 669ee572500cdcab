"""Videos in, anonymised videos out: files that play anywhere and tell nothing but what their frames show."""
