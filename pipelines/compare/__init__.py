"""The comparison of anonymizers: its runs and its tables; the demo is a small one."""
