"""Table 4. Expressions against five attributes of appearance (Section 4.8). The 60/40 draw is unpublished."""

from pipelines.recipes.paper_tables.row import table_row
from pipelines.recipes.recipe import Recipe


def table_4_fapder_raw(paper: Recipe) -> Recipe:
    """Table 4, FAPDER on CelebV-HQ, "Raw data": top-1 73.13 %, F1 .714, cMAP 78.51 %.

    Command: python jobs/paper.py table-4-fapder-raw --data data/celebv-hq --out paper --use-gpu --workers 8
    Data: jobs/ingest.py celebv-hq --stride 2
    """
    return table_row(paper, "raw", "fapder", "celebv-hq")


def table_4_fapder_downsample_2x(paper: Recipe) -> Recipe:
    """Table 4, FAPDER on CelebV-HQ, "Downsample-2x": top-1 54.53 %, F1 .259, cMAP 54.33 %.

    Command: python jobs/paper.py table-4-fapder-downsample-2x --data data/celebv-hq --out paper --use-gpu --workers 8
    Data: jobs/ingest.py celebv-hq --stride 2
    """
    return table_row(paper, "downsample-2x", "fapder", "celebv-hq")


def table_4_fapder_downsample_4x(paper: Recipe) -> Recipe:
    """Table 4, FAPDER on CelebV-HQ, "Downsample-4x": top-1 41.67 %, F1 .244, cMAP 47.17 %.

    Command: python jobs/paper.py table-4-fapder-downsample-4x --data data/celebv-hq --out paper --use-gpu --workers 8
    Data: jobs/ingest.py celebv-hq --stride 2
    """
    return table_row(paper, "downsample-4x", "fapder", "celebv-hq")


def table_4_fapder_strong_blur(paper: Recipe) -> Recipe:
    """Table 4, FAPDER on CelebV-HQ, "StrongBlur": top-1 56.77 %, F1 .331, cMAP 63.61 %.

    Command: python jobs/paper.py table-4-fapder-strong-blur --data data/celebv-hq --out paper --use-gpu --workers 8
    Data: jobs/ingest.py celebv-hq --stride 2 --detector torchvision --detector-weights FILE
    """
    return table_row(paper, "strong-blur", "fapder", "celebv-hq")


def table_4_fapder_weak_blur(paper: Recipe) -> Recipe:
    """Table 4, FAPDER on CelebV-HQ, "WeakBlur": top-1 64.22 %, F1 .369, cMAP 64.19 %.

    Command: python jobs/paper.py table-4-fapder-weak-blur --data data/celebv-hq --out paper --use-gpu --workers 8
    Data: jobs/ingest.py celebv-hq --stride 2 --detector torchvision --detector-weights FILE
    """
    return table_row(paper, "weak-blur", "fapder", "celebv-hq")


def table_4_fapder_collective_style(paper: Recipe) -> Recipe:
    """Table 4, FAPDER on CelebV-HQ, "Collective": top-1 63.65 %, F1 .348, cMAP 63.20 %.

    Command: python jobs/paper.py table-4-fapder-collective-style --data data/celebv-hq
        --out paper --use-gpu --workers 8
    Data: jobs/ingest.py celebv-hq --stride 2
    """
    return table_row(paper, "collective-style", "fapder", "celebv-hq")


def table_4_fapder_vita(paper: Recipe) -> Recipe:
    """Table 4, FAPDER on CelebV-HQ, "VITA": top-1 66.43 %, F1 .314, cMAP 61.09 %.

    Command: python jobs/paper.py table-4-fapder-vita --data data/celebv-hq --out paper --use-gpu --workers 8
    Data: jobs/ingest.py celebv-hq --stride 2
    """
    return table_row(paper, "vita", "fapder", "celebv-hq")


def table_4_fapder_spact(paper: Recipe) -> Recipe:
    """Table 4, FAPDER on CelebV-HQ, "SPAct": top-1 67.12 %, F1 .326, cMAP 62.78 %.

    Command: python jobs/paper.py table-4-fapder-spact --data data/celebv-hq --out paper --use-gpu --workers 8
    Data: jobs/ingest.py celebv-hq --stride 2
    """
    return table_row(paper, "spact", "fapder", "celebv-hq")


def table_4_fapder_ours(paper: Recipe) -> Recipe:
    """Table 4, FAPDER on CelebV-HQ, "Ours": top-1 71.37 %, F1 .280, cMAP 59.30 %.

    Command: python jobs/paper.py table-4-fapder-ours --data data/celebv-hq --out paper --use-gpu --workers 8
    Data: jobs/ingest.py celebv-hq --stride 2
    """
    return table_row(paper, "stprivacy", "fapder", "celebv-hq")


ROWS = (
    table_4_fapder_raw,
    table_4_fapder_downsample_2x,
    table_4_fapder_downsample_4x,
    table_4_fapder_strong_blur,
    table_4_fapder_weak_blur,
    table_4_fapder_collective_style,
    table_4_fapder_vita,
    table_4_fapder_spact,
    table_4_fapder_ours,
)
