"""The full-size benchmark at demo size: HMDB51's published names, however odd, through both phases."""

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.full_size import HEAD, ODD_LETTERS, main
from pipelines.data.index import VideoIndex
from tests.support.places import ANNOTATIONS
from tests.support.published_files import needs_real_files


@needs_real_files
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.slow
def test_prints_time_memory_and_losses_of_both_phases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(ANNOTATIONS, tmp_path / "out", recipe="demo", steps=3, videos=5)
    printed = capsys.readouterr().out.splitlines()
    rows = VideoIndex(tmp_path / "out" / "data").rows
    assert f"6766 videos in = {len(rows)} rows + {6766 - len(rows)} quarantined" in printed
    counts = json.loads((tmp_path / "out" / "data" / "dataset.json").read_text())["counts"]
    assert counts["rows"] + counts["quarantined"] == counts["videos_in"] == 6766
    assert set(ODD_LETTERS) <= set("".join(row.video_id for row in rows))
    parts = Counter(row.splits[0] for row in rows)
    assert (parts["train"] >= 5, parts["test"] >= 2) == (True, True)
    assert len({row.actions for row in rows}) >= 7
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed[printed.index(HEAD) + 2 :]]
    assert [row[:2] for row in table] == [["init", "3"], ["adversarial", "3"]]
    for _, _, seconds, rate, peak_mib, terms in table:
        assert float(seconds) > 0
        assert float(rate) == pytest.approx(2 / float(seconds), rel=0.05)
        assert 100 < float(peak_mib) < 4096
        assert {"loss_sparsification", "loss_action"} <= {term.split()[0] for term in terms.split(", ")}


def test_refuses_a_folder_in_use_and_a_single_step(tmp_path: Path) -> None:
    for out, steps in ((tmp_path, 10), (tmp_path / "new", 1)):
        with pytest.raises(SystemExit, match="--out must be a new folder and --steps 2 or more"):
            main(ANNOTATIONS, out, steps=steps)
