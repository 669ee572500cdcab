"""Table 5. Actions against objects and scenes, cMAP for all three (Section 4.8)."""

from pipelines.recipes.paper_tables.row import table_row
from pipelines.recipes.recipe import Recipe


def table_5_ospar_raw(paper: Recipe) -> Recipe:
    """Table 5, OSPAR on P-HVU, "Raw data": cMAP of actions 27.28 %, of objects 15.72 %, of scenes 30.18 %.

    Command: python jobs/paper.py table-5-ospar-raw --data data/p-hvu --out paper --use-gpu --workers 8
    Data: jobs/ingest.py p-hvu --stride 2
    """
    return table_row(paper, "raw", "ospar", "p-hvu")


def table_5_ospar_downsample_2x(paper: Recipe) -> Recipe:
    """Table 5, OSPAR on P-HVU, "Downsample-2x": cMAP of actions 17.08 %, of objects 11.74 %, of scenes 24.77 %.

    Command: python jobs/paper.py table-5-ospar-downsample-2x --data data/p-hvu --out paper --use-gpu --workers 8
    Data: jobs/ingest.py p-hvu --stride 2
    """
    return table_row(paper, "downsample-2x", "ospar", "p-hvu")


def table_5_ospar_downsample_4x(paper: Recipe) -> Recipe:
    """Table 5, OSPAR on P-HVU, "Downsample-4x": cMAP of actions 15.23 %, of objects 10.66 %, of scenes 22.40 %.

    Command: python jobs/paper.py table-5-ospar-downsample-4x --data data/p-hvu --out paper --use-gpu --workers 8
    Data: jobs/ingest.py p-hvu --stride 2
    """
    return table_row(paper, "downsample-4x", "ospar", "p-hvu")


def table_5_ospar_blackening(paper: Recipe) -> Recipe:
    """Table 5, OSPAR on P-HVU, "Blackening": cMAP of actions 18.51 %, of objects 14.89 %, of scenes 29.59 %.

    Command: python jobs/paper.py table-5-ospar-blackening --data data/p-hvu --out paper --use-gpu --workers 8
    Data: jobs/ingest.py p-hvu --stride 2 --detector torchvision --detector-weights FILE
    """
    return table_row(paper, "blackening", "ospar", "p-hvu")


def table_5_ospar_strong_blur(paper: Recipe) -> Recipe:
    """Table 5, OSPAR on P-HVU, "StrongBlur": cMAP of actions 19.08 %, of objects 15.01 %, of scenes 29.32 %.

    Command: python jobs/paper.py table-5-ospar-strong-blur --data data/p-hvu --out paper --use-gpu --workers 8
    Data: jobs/ingest.py p-hvu --stride 2 --detector torchvision --detector-weights FILE
    """
    return table_row(paper, "strong-blur", "ospar", "p-hvu")


def table_5_ospar_weak_blur(paper: Recipe) -> Recipe:
    """Table 5, OSPAR on P-HVU, "WeakBlur": cMAP of actions 21.67 %, of objects 14.37 %, of scenes 28.68 %.

    Command: python jobs/paper.py table-5-ospar-weak-blur --data data/p-hvu --out paper --use-gpu --workers 8
    Data: jobs/ingest.py p-hvu --stride 2 --detector torchvision --detector-weights FILE
    """
    return table_row(paper, "weak-blur", "ospar", "p-hvu")


def table_5_ospar_collective_style(paper: Recipe) -> Recipe:
    """Table 5, OSPAR on P-HVU, "Collective": cMAP of actions 22.20 %, of objects 14.27 %, of scenes 28.79 %.

    Command: python jobs/paper.py table-5-ospar-collective-style --data data/p-hvu --out paper --use-gpu --workers 8
    Data: jobs/ingest.py p-hvu --stride 2
    """
    return table_row(paper, "collective-style", "ospar", "p-hvu")


def table_5_ospar_vita(paper: Recipe) -> Recipe:
    """Table 5, OSPAR on P-HVU, "VITA": cMAP of actions 22.87 %, of objects 14.44 %, of scenes 27.76 %.

    Command: python jobs/paper.py table-5-ospar-vita --data data/p-hvu --out paper --use-gpu --workers 8
    Data: jobs/ingest.py p-hvu --stride 2
    """
    return table_row(paper, "vita", "ospar", "p-hvu")


def table_5_ospar_spact(paper: Recipe) -> Recipe:
    """Table 5, OSPAR on P-HVU, "SPAct": cMAP of actions 23.16 %, of objects 14.02 %, of scenes 28.59 %.

    Command: python jobs/paper.py table-5-ospar-spact --data data/p-hvu --out paper --use-gpu --workers 8
    Data: jobs/ingest.py p-hvu --stride 2
    """
    return table_row(paper, "spact", "ospar", "p-hvu")


def table_5_ospar_ours(paper: Recipe) -> Recipe:
    """Table 5, OSPAR on P-HVU, "Ours": cMAP of actions 26.42 %, of objects 12.38 %, of scenes 25.64 %.

    Command: python jobs/paper.py table-5-ospar-ours --data data/p-hvu --out paper --use-gpu --workers 8
    Data: jobs/ingest.py p-hvu --stride 2
    """
    return table_row(paper, "stprivacy", "ospar", "p-hvu")


ROWS = (
    table_5_ospar_raw,
    table_5_ospar_downsample_2x,
    table_5_ospar_downsample_4x,
    table_5_ospar_blackening,
    table_5_ospar_strong_blur,
    table_5_ospar_weak_blur,
    table_5_ospar_collective_style,
    table_5_ospar_vita,
    table_5_ospar_spact,
    table_5_ospar_ours,
)
