"""A sweep whose folder is in an object store."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.tune.space import parse_space
from pipelines.tune.sweep import run_sweep
from tests.support.object_store_fixtures import served_bucket, upload
from tests.support.sweep_fixtures import TWO, WHERE, Swept

pytestmark = pytest.mark.slow


def test_a_sweep_in_a_bucket_finds_what_a_local_one_does(swept: Swept, tmp_path: Path) -> None:
    space = parse_space({"keep_ratio": ("0.5",), "lambda_privacy": ("0.5",)})
    sweep = replace(swept.sweep, space=space, deploy_keep_ratios=())
    local = run_sweep(sweep, swept.lend(tmp_path / "front"), WHERE, TWO)
    with served_bucket() as bucket:
        out = upload(swept.lend(tmp_path / "lent"), f"{bucket}/front")
        where = replace(WHERE, tracking_uri=f"sqlite:///{tmp_path / 'remote.db'}")
        assert run_sweep(sweep, out, where, TWO) == local
        written = {name: (out / name).read_bytes() for name in ("result.json", "front.csv", "front.html", "front.png")}
        assert not (out / ".ray-tune").exists()
    for name in ("result.json", "front.csv", "front.png"):
        assert written[name] == (tmp_path / "front" / name).read_bytes()
