"""Load of the driver's machine (processor, memory, disk, network, GPUs), as MLflow measures and names it."""

import logging
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

_log = logging.getLogger(__name__)
INTERVAL_SECONDS = 10.0
# A day of samples; through a longer outage the oldest are given up.
_MOST_KEPT = 8640
_PREFIX = "system/"
_SAMPLES_PER_REQUEST = 50


class SystemMetrics:
    """Samples in a thread while it is entered; `send` is for the thread that talks to MLflow.

    MLflow's own monitor ends for good as soon as a request fails or the run is not RUNNING for a moment, so only its
    measuring is used. `MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL` (seconds) and
    `MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=false` work as they do there.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[int, dict[str, float]]] = deque(maxlen=_MOST_KEPT)
        self._sent: list[Metric] = []
        self._next_step = -1
        self._interval = float(os.environ.get("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL") or INTERVAL_SECONDS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="system-metrics", daemon=True)

    def __enter__(self) -> Self:
        if os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "").lower() not in ("false", "0"):
            self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def waiting(self) -> bool:
        """Whether there are samples that MLflow does not have."""
        return bool(self._samples or self._sent)

    def send(self, client: "MlflowClient", run_id: str) -> None:
        """Log what was sampled since the last time; after an error, which is raised, the same again."""
        if self._next_step < 0:
            keys = sorted(key for key in client.get_run(run_id).data.metrics if key.startswith(_PREFIX))
            # All have the same steps.
            known = [metric.step for key in keys[:1] for metric in client.get_metric_history(run_id, key)]
            self._next_step = max(known, default=-1) + 1
        while self._sent or self._samples:
            # Time and step of a request are kept until it was answered: the store knows a repeated one by them.
            self._sent = self._sent or self._request()
            client.log_batch(run_id, metrics=self._sent)
            self._sent = []

    def _request(self) -> "list[Metric]":
        from mlflow.entities import Metric

        metrics = []
        for _ in range(min(len(self._samples), _SAMPLES_PER_REQUEST)):
            when, sample = self._samples.popleft()
            metrics += [Metric(_PREFIX + name, value, when, self._next_step) for name, value in sample.items()]
            self._next_step += 1
        return metrics

    def _sample(self) -> None:
        try:
            monitor = _monitor()
            while not self._stop.wait(self._interval):
                monitor.collect_metrics()
                self._samples.append((time.time_ns() // 1_000_000, monitor.aggregate_metrics()))
                for part in monitor.monitors:
                    part.clear_metrics()
        except Exception as error:  # of a machine that cannot be measured; the work goes on
            _log.warning("no system metrics from here on: %s", error)


def _monitor() -> Any:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor: Any = SystemMetricsMonitor
    # Never started, so it needs no run and no store of its own.
    return monitor(run_id="unused", tracking_uri="http://localhost")
