"""A browser opens the comparison of four runs in MLflow's interface, and finds them drawn."""

import time
from pathlib import Path

import pytest
from browser_fixtures import MlflowServer, browser, lines_between_axes, open_comparison, plotted, screenshot
from selenium.webdriver.common.by import By

from pipelines.tracking import Tracker, default_tracking_uri

TRIALS = [(0.3, 0.5, 61.0, 55.0), (0.5, 0.5, 70.0, 58.0), (0.7, 1.0, 77.0, 66.0), (0.9, 1.0, 80.0, 71.0)]


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder with a store of four trials under one parent, and their run ids."""
    folder = tmp_path_factory.mktemp("sweep")
    tracker = Tracker(default_tracking_uri(folder))
    ids = []
    for number, (keep_ratio, lambda_privacy, top1, cmap) in enumerate(TRIALS):
        config = {"keep_ratio": keep_ratio, "lambda_privacy": lambda_privacy}
        with tracker.run(folder / f"trial-{number}", f"trial {number}", config, parent="sweep") as run:
            run.log_result({"action_top1": top1, "privacy_cmap": cmap})
        ids.append(run.run_id)
    return folder, ids


def test_the_comparison_draws_every_trial(trials: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, run_ids = trials
    with MlflowServer(folder / "mlflow.db") as server, browser() as driver:
        open_comparison(driver, server, run_ids)
        time.sleep(1)  # the lines are drawn after the axes
        picture = screenshot(driver, tmp_path / "parallel.png")
        page = driver.find_element(By.TAG_NAME, "body").text
        (chart,) = plotted(driver, "parcoords")
        lines = lines_between_axes(driver, picture)
        driver.find_element(By.XPATH, "//*[@role='tab'][contains(., 'Scatter')]").click()
        time.sleep(2)
        (scatter,) = plotted(driver, "scattergl") or plotted(driver, "scatter")
        screenshot(driver, tmp_path / "scatter.png")
    assert all(f"trial {number}" in page for number in range(len(TRIALS)))
    values = {axis["label"]: sorted(map(float, axis["values"])) for axis in chart["dimensions"]}
    assert values["keep_ratio"] == [0.3, 0.5, 0.7, 0.9]
    assert values["lambda_privacy"] == [0.5, 0.5, 1.0, 1.0]
    assert lines == len(TRIALS)
    assert len(scatter["x"]) == len(scatter["y"]) == len(TRIALS)
