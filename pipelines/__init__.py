"""Ray around `stprivacy`: data, training, tracking. Importing it sets what Ray reads when it is imported in turn."""

import os

RAY_SETTINGS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Or a thread that is still at work when a command was interrupted starts another Ray.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    # Version 2 starts 32 footer readers for every execution: 16-20 s where this one takes half a second.
    "RAY_DATA_USE_DATASOURCE_V2": "0",
    # Without a limit, a collective whose peer has died waits forever.
    "RAY_TRAIN_COLLECTIVE_TIMEOUT_S": "300",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # By itself, Ray runs a task that needs more memory than there is again without end.
    "RAY_task_oom_retries": "10",
}
for _name, _value in RAY_SETTINGS.items():
    os.environ.setdefault(_name, _value)
