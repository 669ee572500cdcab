"""Table 1. Known actions: what is learned is trained on the data set that it is tested on (Section 4.4)."""

from pipelines.recipes.paper_tables.row import table_row
from pipelines.recipes.recipe import Recipe


def table_1_vp_hmdb51_raw(paper: Recipe) -> Recipe:
    """Table 1, VP-HMDB51, "Raw data": top-1 51.44 %, F1 .673, cMAP 75.58 %.

    Command: python jobs/paper.py table-1-vp-hmdb51-raw --data data/vp-hmdb51 --out paper --use-gpu --workers 8
    Data: jobs/ingest.py hmdb51 --stride 2
    """
    return table_row(paper, "raw", "known", "hmdb51")


def table_1_vp_hmdb51_downsample_2x(paper: Recipe) -> Recipe:
    """Table 1, VP-HMDB51, "Downsample-2x": top-1 40.80 %, F1 .601, cMAP 71.35 %.

    Command: python jobs/paper.py table-1-vp-hmdb51-downsample-2x --data data/vp-hmdb51
        --out paper --use-gpu --workers 8
    Data: jobs/ingest.py hmdb51 --stride 2
    """
    return table_row(paper, "downsample-2x", "known", "hmdb51")


def table_1_vp_hmdb51_downsample_4x(paper: Recipe) -> Recipe:
    """Table 1, VP-HMDB51, "Downsample-4x": top-1 31.32 %, F1 .594, cMAP 69.79 %.

    Command: python jobs/paper.py table-1-vp-hmdb51-downsample-4x --data data/vp-hmdb51
        --out paper --use-gpu --workers 8
    Data: jobs/ingest.py hmdb51 --stride 2
    """
    return table_row(paper, "downsample-4x", "known", "hmdb51")


def table_1_vp_hmdb51_blackening(paper: Recipe) -> Recipe:
    """Table 1, VP-HMDB51, "Blackening": top-1 38.27 %, F1 .649, cMAP 74.06 %.

    Command: python jobs/paper.py table-1-vp-hmdb51-blackening --data data/vp-hmdb51 --out paper --use-gpu --workers 8
    Data: jobs/ingest.py hmdb51 --stride 2 --detector torchvision --detector-weights FILE
    """
    return table_row(paper, "blackening", "known", "hmdb51")


def table_1_vp_hmdb51_strong_blur(paper: Recipe) -> Recipe:
    """Table 1, VP-HMDB51, "StrongBlur": top-1 40.91 %, F1 .655, cMAP 74.33 %.

    Command: python jobs/paper.py table-1-vp-hmdb51-strong-blur --data data/vp-hmdb51 --out paper --use-gpu --workers 8
    Data: jobs/ingest.py hmdb51 --stride 2 --detector torchvision --detector-weights FILE
    """
    return table_row(paper, "strong-blur", "known", "hmdb51")


def table_1_vp_hmdb51_weak_blur(paper: Recipe) -> Recipe:
    """Table 1, VP-HMDB51, "WeakBlur": top-1 47.24 %, F1 .663, cMAP 75.11 %.

    Command: python jobs/paper.py table-1-vp-hmdb51-weak-blur --data data/vp-hmdb51 --out paper --use-gpu --workers 8
    Data: jobs/ingest.py hmdb51 --stride 2 --detector torchvision --detector-weights FILE
    """
    return table_row(paper, "weak-blur", "known", "hmdb51")


def table_1_vp_hmdb51_collective_style(paper: Recipe) -> Recipe:
    """Table 1, VP-HMDB51, "Collective": top-1 46.88 %, F1 .651, cMAP 74.12 %.

    Command: python jobs/paper.py table-1-vp-hmdb51-collective-style --data data/vp-hmdb51
        --out paper --use-gpu --workers 8
    Data: jobs/ingest.py hmdb51 --stride 2
    """
    return table_row(paper, "collective-style", "known", "hmdb51")


def table_1_vp_hmdb51_vita(paper: Recipe) -> Recipe:
    """Table 1, VP-HMDB51, "VITA": top-1 48.11 %, F1 .638, cMAP 73.89 %.

    Command: python jobs/paper.py table-1-vp-hmdb51-vita --data data/vp-hmdb51 --out paper --use-gpu --workers 8
    Data: jobs/ingest.py hmdb51 --stride 2
    """
    return table_row(paper, "vita", "known", "hmdb51")


def table_1_vp_hmdb51_spact(paper: Recipe) -> Recipe:
    """Table 1, VP-HMDB51, "SPAct": top-1 48.56 %, F1 .642, cMAP 73.78 %.

    Command: python jobs/paper.py table-1-vp-hmdb51-spact --data data/vp-hmdb51 --out paper --use-gpu --workers 8
    Data: jobs/ingest.py hmdb51 --stride 2
    """
    return table_row(paper, "spact", "known", "hmdb51")


def table_1_vp_hmdb51_ours(paper: Recipe) -> Recipe:
    """Table 1, VP-HMDB51, "Ours": top-1 50.73 %, F1 .613, cMAP 72.48 %.

    Command: python jobs/paper.py table-1-vp-hmdb51-ours --data data/vp-hmdb51 --out paper --use-gpu --workers 8
    Data: jobs/ingest.py hmdb51 --stride 2
    """
    return table_row(paper, "stprivacy", "known", "hmdb51")


def table_1_vp_ucf101_raw(paper: Recipe) -> Recipe:
    """Table 1, VP-UCF101, "Raw data": top-1 84.20 %, F1 .684, cMAP 76.62 %.

    Command: python jobs/paper.py table-1-vp-ucf101-raw --data data/vp-ucf101 --out paper --use-gpu --workers 8
    Data: jobs/ingest.py ucf101 --stride 4
    """
    return table_row(paper, "raw", "known", "ucf101")


def table_1_vp_ucf101_downsample_2x(paper: Recipe) -> Recipe:
    """Table 1, VP-UCF101, "Downsample-2x": top-1 72.79 %, F1 .620, cMAP 71.49 %.

    Command: python jobs/paper.py table-1-vp-ucf101-downsample-2x --data data/vp-ucf101
        --out paper --use-gpu --workers 8
    Data: jobs/ingest.py ucf101 --stride 4
    """
    return table_row(paper, "downsample-2x", "known", "ucf101")


def table_1_vp_ucf101_downsample_4x(paper: Recipe) -> Recipe:
    """Table 1, VP-UCF101, "Downsample-4x": top-1 56.07 %, F1 .615, cMAP 69.85 %.

    Command: python jobs/paper.py table-1-vp-ucf101-downsample-4x --data data/vp-ucf101
        --out paper --use-gpu --workers 8
    Data: jobs/ingest.py ucf101 --stride 4
    """
    return table_row(paper, "downsample-4x", "known", "ucf101")


def table_1_vp_ucf101_blackening(paper: Recipe) -> Recipe:
    """Table 1, VP-UCF101, "Blackening": top-1 69.41 %, F1 .660, cMAP 75.37 %.

    Command: python jobs/paper.py table-1-vp-ucf101-blackening --data data/vp-ucf101 --out paper --use-gpu --workers 8
    Data: jobs/ingest.py ucf101 --stride 4 --detector torchvision --detector-weights FILE
    """
    return table_row(paper, "blackening", "known", "ucf101")


def table_1_vp_ucf101_strong_blur(paper: Recipe) -> Recipe:
    """Table 1, VP-UCF101, "StrongBlur": top-1 73.94 %, F1 .672, cMAP 75.58 %.

    Command: python jobs/paper.py table-1-vp-ucf101-strong-blur --data data/vp-ucf101 --out paper --use-gpu --workers 8
    Data: jobs/ingest.py ucf101 --stride 4 --detector torchvision --detector-weights FILE
    """
    return table_row(paper, "strong-blur", "known", "ucf101")


def table_1_vp_ucf101_weak_blur(paper: Recipe) -> Recipe:
    """Table 1, VP-UCF101, "WeakBlur": top-1 77.31 %, F1 .678, cMAP 76.03 %.

    Command: python jobs/paper.py table-1-vp-ucf101-weak-blur --data data/vp-ucf101 --out paper --use-gpu --workers 8
    Data: jobs/ingest.py ucf101 --stride 4 --detector torchvision --detector-weights FILE
    """
    return table_row(paper, "weak-blur", "known", "ucf101")


def table_1_vp_ucf101_collective_style(paper: Recipe) -> Recipe:
    """Table 1, VP-UCF101, "Collective": top-1 78.01 %, F1 .663, cMAP 75.22 %.

    Command: python jobs/paper.py table-1-vp-ucf101-collective-style --data data/vp-ucf101
        --out paper --use-gpu --workers 8
    Data: jobs/ingest.py ucf101 --stride 4
    """
    return table_row(paper, "collective-style", "known", "ucf101")


def table_1_vp_ucf101_vita(paper: Recipe) -> Recipe:
    """Table 1, VP-UCF101, "VITA": top-1 78.49 %, F1 .657, cMAP 75.36 %.

    Command: python jobs/paper.py table-1-vp-ucf101-vita --data data/vp-ucf101 --out paper --use-gpu --workers 8
    Data: jobs/ingest.py ucf101 --stride 4
    """
    return table_row(paper, "vita", "known", "ucf101")


def table_1_vp_ucf101_spact(paper: Recipe) -> Recipe:
    """Table 1, VP-UCF101, "SPAct": top-1 78.40 %, F1 .651, cMAP 75.29 %.

    Command: python jobs/paper.py table-1-vp-ucf101-spact --data data/vp-ucf101 --out paper --use-gpu --workers 8
    Data: jobs/ingest.py ucf101 --stride 4
    """
    return table_row(paper, "spact", "known", "ucf101")


def table_1_vp_ucf101_ours(paper: Recipe) -> Recipe:
    """Table 1, VP-UCF101, "Ours": top-1 82.55 %, F1 .634, cMAP 73.79 %.

    Command: python jobs/paper.py table-1-vp-ucf101-ours --data data/vp-ucf101 --out paper --use-gpu --workers 8
    Data: jobs/ingest.py ucf101 --stride 4
    """
    return table_row(paper, "stprivacy", "known", "ucf101")


ROWS = (
    table_1_vp_hmdb51_raw,
    table_1_vp_hmdb51_downsample_2x,
    table_1_vp_hmdb51_downsample_4x,
    table_1_vp_hmdb51_blackening,
    table_1_vp_hmdb51_strong_blur,
    table_1_vp_hmdb51_weak_blur,
    table_1_vp_hmdb51_collective_style,
    table_1_vp_hmdb51_vita,
    table_1_vp_hmdb51_spact,
    table_1_vp_hmdb51_ours,
    table_1_vp_ucf101_raw,
    table_1_vp_ucf101_downsample_2x,
    table_1_vp_ucf101_downsample_4x,
    table_1_vp_ucf101_blackening,
    table_1_vp_ucf101_strong_blur,
    table_1_vp_ucf101_weak_blur,
    table_1_vp_ucf101_collective_style,
    table_1_vp_ucf101_vita,
    table_1_vp_ucf101_spact,
    table_1_vp_ucf101_ours,
)
