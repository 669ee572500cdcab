"""Table 3. Privacy of single frames (Section 4.7).

The stride, the draw of the 60/40 split and what STPrivacy was trained on are unpublished. Here the action recognizer
and what is learned train on the official training part of HMDB51 without PA-HMDB51's videos, the frame recognizer on a
random 60 % of PA-HMDB51; all are tested on the rest.
"""

from pipelines.recipes.paper_tables.row import table_row
from pipelines.recipes.recipe import Recipe


def table_3_pa_hmdb51_raw(paper: Recipe) -> Recipe:
    """Table 3, PA-HMDB51 by frames, "Raw data": top-1 51.23 %, F1 .572, cMAP 71.12 %.

    Command: python jobs/paper.py table-3-pa-hmdb51-raw --data data/pa-hmdb51 --train-data data/vp-hmdb51
        --out paper --use-gpu --workers 8
    Data: jobs/ingest.py pa-hmdb51 --stride 2 and jobs/ingest.py hmdb51 --stride 2
    """
    return table_row(paper, "raw", "frame-level", "pa-hmdb51", "hmdb51")


def table_3_pa_hmdb51_downsample_2x(paper: Recipe) -> Recipe:
    """Table 3, PA-HMDB51 by frames, "Downsample-2x": top-1 40.38 %, F1 .519, cMAP 67.81 %.

    Command: python jobs/paper.py table-3-pa-hmdb51-downsample-2x --data data/pa-hmdb51 --train-data data/vp-hmdb51
        --out paper --use-gpu --workers 8
    Data: jobs/ingest.py pa-hmdb51 --stride 2 and jobs/ingest.py hmdb51 --stride 2
    """
    return table_row(paper, "downsample-2x", "frame-level", "pa-hmdb51", "hmdb51")


def table_3_pa_hmdb51_downsample_4x(paper: Recipe) -> Recipe:
    """Table 3, PA-HMDB51 by frames, "Downsample-4x": top-1 31.24 %, F1 .511, cMAP 67.14 %.

    Command: python jobs/paper.py table-3-pa-hmdb51-downsample-4x --data data/pa-hmdb51 --train-data data/vp-hmdb51
        --out paper --use-gpu --workers 8
    Data: jobs/ingest.py pa-hmdb51 --stride 2 and jobs/ingest.py hmdb51 --stride 2
    """
    return table_row(paper, "downsample-4x", "frame-level", "pa-hmdb51", "hmdb51")


def table_3_pa_hmdb51_blackening(paper: Recipe) -> Recipe:
    """Table 3, PA-HMDB51 by frames, "Blackening": top-1 38.09 %, F1 .557, cMAP 70.02 %.

    Command: python jobs/paper.py table-3-pa-hmdb51-blackening --data data/pa-hmdb51 --train-data data/vp-hmdb51
        --out paper --use-gpu --workers 8
    Data: jobs/ingest.py pa-hmdb51 --stride 2 --detector torchvision --detector-weights FILE
        and jobs/ingest.py hmdb51 --stride 2 --detector torchvision --detector-weights FILE
    """
    return table_row(paper, "blackening", "frame-level", "pa-hmdb51", "hmdb51")


def table_3_pa_hmdb51_strong_blur(paper: Recipe) -> Recipe:
    """Table 3, PA-HMDB51 by frames, "StrongBlur": top-1 40.64 %, F1 illegible in the copy at hand, cMAP 70.31 %.

    Command: python jobs/paper.py table-3-pa-hmdb51-strong-blur --data data/pa-hmdb51 --train-data data/vp-hmdb51
        --out paper --use-gpu --workers 8
    Data: jobs/ingest.py pa-hmdb51 --stride 2 --detector torchvision --detector-weights FILE
        and jobs/ingest.py hmdb51 --stride 2 --detector torchvision --detector-weights FILE
    """
    return table_row(paper, "strong-blur", "frame-level", "pa-hmdb51", "hmdb51")


def table_3_pa_hmdb51_weak_blur(paper: Recipe) -> Recipe:
    """Table 3, PA-HMDB51 by frames, "WeakBlur": top-1 46.89 %, F1 illegible in the copy at hand, cMAP 70.74 %.

    Command: python jobs/paper.py table-3-pa-hmdb51-weak-blur --data data/pa-hmdb51 --train-data data/vp-hmdb51
        --out paper --use-gpu --workers 8
    Data: jobs/ingest.py pa-hmdb51 --stride 2 --detector torchvision --detector-weights FILE
        and jobs/ingest.py hmdb51 --stride 2 --detector torchvision --detector-weights FILE
    """
    return table_row(paper, "weak-blur", "frame-level", "pa-hmdb51", "hmdb51")


def table_3_pa_hmdb51_collective_style(paper: Recipe) -> Recipe:
    """Table 3, PA-HMDB51 by frames, "Collective": top-1 46.47 %, F1 .554, cMAP 69.96 %.

    Command: python jobs/paper.py table-3-pa-hmdb51-collective-style --data data/pa-hmdb51 --train-data data/vp-hmdb51
        --out paper --use-gpu --workers 8
    Data: jobs/ingest.py pa-hmdb51 --stride 2 and jobs/ingest.py hmdb51 --stride 2
    """
    return table_row(paper, "collective-style", "frame-level", "pa-hmdb51", "hmdb51")


def table_3_pa_hmdb51_vita(paper: Recipe) -> Recipe:
    """Table 3, PA-HMDB51 by frames, "VITA": top-1 47.78 %, F1 .549, cMAP 69.45 %.

    Command: python jobs/paper.py table-3-pa-hmdb51-vita --data data/pa-hmdb51 --train-data data/vp-hmdb51
        --out paper --use-gpu --workers 8
    Data: jobs/ingest.py pa-hmdb51 --stride 2 and jobs/ingest.py hmdb51 --stride 2
    """
    return table_row(paper, "vita", "frame-level", "pa-hmdb51", "hmdb51")


def table_3_pa_hmdb51_spact(paper: Recipe) -> Recipe:
    """Table 3, PA-HMDB51 by frames, "SPAct": top-1 48.33 %, F1 .543, cMAP 69.44 %.

    Command: python jobs/paper.py table-3-pa-hmdb51-spact --data data/pa-hmdb51 --train-data data/vp-hmdb51
        --out paper --use-gpu --workers 8
    Data: jobs/ingest.py pa-hmdb51 --stride 2 and jobs/ingest.py hmdb51 --stride 2
    """
    return table_row(paper, "spact", "frame-level", "pa-hmdb51", "hmdb51")


def table_3_pa_hmdb51_ours(paper: Recipe) -> Recipe:
    """Table 3, PA-HMDB51 by frames, "Ours": top-1 50.61 %, F1 .523, cMAP 68.76 %.

    Command: python jobs/paper.py table-3-pa-hmdb51-ours --data data/pa-hmdb51 --train-data data/vp-hmdb51
        --out paper --use-gpu --workers 8
    Data: jobs/ingest.py pa-hmdb51 --stride 2 and jobs/ingest.py hmdb51 --stride 2
    """
    return table_row(paper, "stprivacy", "frame-level", "pa-hmdb51", "hmdb51")


ROWS = (
    table_3_pa_hmdb51_raw,
    table_3_pa_hmdb51_downsample_2x,
    table_3_pa_hmdb51_downsample_4x,
    table_3_pa_hmdb51_blackening,
    table_3_pa_hmdb51_strong_blur,
    table_3_pa_hmdb51_weak_blur,
    table_3_pa_hmdb51_collective_style,
    table_3_pa_hmdb51_vita,
    table_3_pa_hmdb51_spact,
    table_3_pa_hmdb51_ours,
)
