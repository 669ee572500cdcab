"""A browser opens the comparison of a sweep's four trials in MLflow's interface, and finds them drawn.

The screenshots are kept in build/screenshots.
"""

import time

import pytest
from selenium.webdriver.common.by import By

from tests.support.browser_fixtures import (
    MlflowServer,
    browser,
    lines_between_axes,
    open_comparison,
    plotted,
    screenshot,
)
from tests.support.places import ROOT
from tests.support.sweep_fixtures import Swept

pytestmark = pytest.mark.slow

SCREENSHOTS = ROOT / "build" / "screenshots"


def test_the_comparison_draws_every_trial(swept: Swept) -> None:
    with MlflowServer(swept.out / "mlflow.db") as server, browser() as driver:
        trials = [f"trial {number:03d}" for number in range(4)]
        open_comparison(driver, server, swept.out.name, trials)
        time.sleep(1)  # the lines are drawn after the axes
        picture = screenshot(driver, SCREENSHOTS / "parallel.png")
        page = driver.find_element(By.TAG_NAME, "body").text
        (chart,) = plotted(driver, "parcoords")
        lines = lines_between_axes(driver, picture, "keep_ratio", "lambda_privacy")
        driver.find_element(By.XPATH, "//*[@role='tab'][contains(., 'Scatter')]").click()
        time.sleep(2)
        (scatter,) = plotted(driver, "scattergl") or plotted(driver, "scatter")
        screenshot(driver, SCREENSHOTS / "scatter.png")
    assert all(name in page for name in trials)
    values = {axis["label"]: sorted(map(float, axis["values"])) for axis in chart["dimensions"]}
    assert values["keep_ratio"] == [0.5, 0.5, 1.0, 1.0]
    assert values["lambda_privacy"] == [0.5, 0.5, 2.0, 2.0]
    assert lines == len(trials)
    assert len(scatter["x"]) == len(scatter["y"]) == len(trials)
