"""A real MLflow server that can be killed and started again, and a real browser that looks at what it shows."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

START_SECONDS = PAGE_SECONDS = 120.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class MlflowServer:
    """`mlflow server` on a loopback port over a SQLite file, with the artifacts beside it; entered, it answers."""

    def __init__(self, database: Path) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.artifacts = database.parent / "mlartifacts"
        self._database = database
        self._log = database.with_suffix(".server.log")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self._database}", "--workers", "1"]
        command += ["--artifacts-destination", str(self.artifacts)]
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
        with self._log.open("ab") as log:
            # A session of its own: uvicorn's workers are ended with it.
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=environment, cwd=self._database.parent
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"mlflow server did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.2)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """End it as the loss of its machine would."""
        if self._process:
            with suppress(ProcessLookupError):  # it may have ended by itself
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @contextmanager
    def hung(self) -> Iterator[None]:
        """It takes connections and does not answer; what it was asked meanwhile it does afterwards."""
        assert self._process
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)


@contextmanager
def browser(width: int = 1600, height: int = 1000) -> Iterator[webdriver.Chrome]:
    """Headless Chromium; the test is skipped where none is installed."""
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver_binary = shutil.which("chromedriver")
    if binary is None or driver_binary is None:
        missing = "chromium" if binary is None else "chromedriver"
        pytest.skip(f"no browser is installed ({missing} is not on the PATH)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--window-size={width},{height}"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(driver_binary))
    try:
        yield driver
    finally:
        driver.quit()


def open_comparison(driver: webdriver.Chrome, server: MlflowServer, parent: str, names: Sequence[str]) -> None:
    """MLflow's comparison of these runs, as a user gets there: the parent's children ticked in the table, and Compare.

    It is there when its parallel-coordinates chart has its axes.
    """
    experiment = MlflowClient(server.uri).get_experiment_by_name("stprivacy")
    assert experiment
    driver.get(f"{server.uri}/#/experiments/{experiment.experiment_id}/runs")
    expand = f"//*[@row-id][.//*[text()='{parent}']]//button"
    WebDriverWait(driver, PAGE_SECONDS).until(lambda page: page.find_elements(By.XPATH, expand))
    close_assistant(driver)
    driver.find_element(By.XPATH, expand).click()
    boxes = [f"//*[@row-id][.//*[text()='{name}']]//input[contains(@class, 'ag-checkbox-input')]" for name in names]
    WebDriverWait(driver, PAGE_SECONDS).until(lambda page: all(page.find_elements(By.XPATH, box) for box in boxes))
    time.sleep(1)  # the rows move to their places
    for box in boxes:
        driver.find_element(By.XPATH, box).click()
    compare = "//button[contains(., 'Compare')]"
    WebDriverWait(driver, PAGE_SECONDS).until(lambda page: page.find_elements(By.XPATH, compare))[0].click()
    wait_for(driver, ".parcoords .axis-title", 2)
    close_assistant(driver)


def close_assistant(driver: webdriver.Chrome) -> None:
    """MLflow's assistant opens by itself on the first visit, over a quarter of the page."""
    for button in driver.find_elements(By.XPATH, "//*[@aria-label='Close' or @aria-label='Close panel']"):
        button.click()


def wait_for(driver: webdriver.Chrome, selector: str, count: int) -> list[WebElement]:
    """The elements of a CSS selector, once there are so many."""

    def enough(page: webdriver.Chrome) -> list[WebElement] | None:
        found = page.find_elements(By.CSS_SELECTOR, selector)
        return found if len(found) >= count else None

    found = WebDriverWait(driver, PAGE_SECONDS).until(enough, f"fewer than {count} of {selector}")
    assert found
    return found


def plotted(driver: webdriver.Chrome, kind: str) -> list[dict[str, Any]]:
    """The visible page's plotly traces of a type ("parcoords", "scatter"), with their values."""
    script = """
    return [...document.querySelectorAll(".js-plotly-plot")].filter(plot => plot.offsetParent).flatMap(
        plot => [...plot.data].map(trace => ({
            type: trace.type, x: [...(trace.x || [])], y: [...(trace.y || [])],
            dimensions: [...(trace.dimensions || [])].map(axis => ({label: axis.label, values: [...axis.values]})),
        })))
    """
    return [trace for trace in driver.execute_script(script) if trace["type"] == kind]


def lines_between_axes(driver: webdriver.Chrome, picture: Path, first: str, second: str) -> int:
    """How many coloured lines a screenshot of parallel coordinates shows a third of the way from one axis to another.

    Half-way, the lines of a two-by-two grid would cross. They are drawn by WebGL into a canvas: the page's elements do
    not tell of them.
    """
    titles = {axis.text: axis.rect for axis in driver.find_elements(By.CSS_SELECTOR, ".parcoords .axis-title")}
    left, right = (titles[name]["x"] + titles[name]["width"] / 2 for name in (first, second))
    axis = driver.find_element(By.CSS_SELECTOR, ".parcoords .axis .domain").rect
    third, top = round((2 * left + right) / 3), round(axis["y"])
    column = cv2.imread(str(picture))[top - 3 : top + round(axis["height"]) + 4, third].astype(int)
    coloured = column.max(axis=1) - column.min(axis=1) > 30
    return int((np.diff(coloured.astype(int), prepend=0) == 1).sum())


def screenshot(driver: webdriver.Chrome, path: Path) -> Path:
    """The page as it is now, as a PNG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert driver.save_screenshot(str(path))
    return path
