"""Rows of the paper's Tables 1-5 as data, each a change of the recipe "paper": its data, its protocol, its anonymizer.

None of them has been run on the real data here: the values are the paper's. Which boxes the paper blackened and blurred
is unpublished, as is the method of the row "Collective": see `CollectiveStyle`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pipelines.recipes.recipe import Recipe
from pipelines.runs.config import ProtocolName
from stprivacy.anonymizers import LEARNED, AnonymizerName

# Every n-th frame (Sections 4.3 and 4.8). PA-HMDB51's is unpublished: HMDB51's.
STRIDES: Mapping[str, int] = {"hmdb51": 2, "ucf101": 4, "pa-hmdb51": 2, "celebv-hq": 2, "p-hvu": 2}
_FOLDERS = {"hmdb51": "data/vp-hmdb51", "ucf101": "data/vp-ucf101"}  # others have the data set's name
_DETECTOR = " --detector torchvision --detector-weights FILE"
# What the tables call each anonymizer.
_CALLED: Mapping[AnonymizerName, str] = {
    "raw": "Raw data",
    "downsample-2x": "Downsample-2x",
    "downsample-4x": "Downsample-4x",
    "blackening": "Blackening",
    "strong-blur": "StrongBlur",
    "weak-blur": "WeakBlur",
    "collective-style": "Collective",
    "vita": "VITA",
    "spact": "SPAct",
    "stprivacy": "Ours",
}
_OF_PERSONS = ("blackening", "strong-blur", "weak-blur")
_SCORES = "top-1 {} %, F1 {}, cMAP {} %"
_GROUPS = "cMAP of actions {} %, of objects {} %, of scenes {} %"
_ILLEGIBLE = "illegible in the copy at hand"


@dataclass(frozen=True)
class Part:
    """The rows of a table that share a protocol and data sets; `trains_all` where every row trains on another one."""

    table: int
    title: str
    name: str
    protocol: ProtocolName
    dataset: str
    train_dataset: str = ""
    trains_all: bool = False
    scores: str = _SCORES


@dataclass(frozen=True)
class PaperRow:
    """One row: called with the recipe "paper", it returns its own."""

    part: Part
    anonymizer: AnonymizerName
    values: str

    @property
    def name(self) -> str:
        """What jobs/paper.py calls it."""
        anonymizer = "ours" if self.anonymizer == "stprivacy" else self.anonymizer
        return f"table-{self.part.table}-{self.part.name}-{anonymizer}"

    @property
    def train_dataset(self) -> str:
        """The data set, if another than the tested one, that the row's learned anonymizer is trained on.

        In protocol frame-level, it is the one of the action recognizer, too.
        """
        return self.part.train_dataset if self.part.trains_all or self.anonymizer in LEARNED else ""

    @property
    def description(self) -> str:
        """Its place in the paper with the values there, the command, and how the data are ingested."""
        part = self.part
        scores = part.scores.format(*(_ILLEGIBLE if value == "?" else value for value in self.values.split(" ")))
        used = [name for name in (part.dataset, self.train_dataset) if name]
        folders = [_FOLDERS.get(name, f"data/{name}") for name in used]
        data = " --train-data ".join(folders)
        boxes = _DETECTOR if self.anonymizer in _OF_PERSONS else ""
        ingests = " and ".join(f"jobs/ingest.py {name} --stride {STRIDES[name]}{boxes}" for name in used)
        return (
            f'Table {part.table}, {part.title}, "{_CALLED[self.anonymizer]}": {scores}.\n\n'
            f"Command: python jobs/paper.py {self.name} --data {data} --out paper --use-gpu --workers 8\n"
            f"Data: {ingests}"
        )

    def __call__(self, paper: Recipe) -> Recipe:
        """The paper's recipe for the row's anonymizer, tested on the row's data set."""
        recipe = paper.training(self.anonymizer) if self.anonymizer in LEARNED else paper
        test = replace(recipe.evaluate, anonymizer=self.anonymizer, protocol=self.part.protocol)
        if self.anonymizer not in LEARNED:
            test = replace(test, deploy_keep_ratio=1.0)
        return replace(
            recipe,
            evaluate=test,
            dataset=self.part.dataset,
            train_dataset=self.train_dataset,
            stride=STRIDES[self.part.dataset],
        )


_TABLES: Mapping[Part, Mapping[AnonymizerName, str]] = {
    # Known actions: what is learned is trained on the data set that it is tested on (Section 4.4).
    Part(1, "VP-HMDB51", "vp-hmdb51", "known", "hmdb51"): {
        "raw": "51.44 .673 75.58",
        "downsample-2x": "40.80 .601 71.35",
        "downsample-4x": "31.32 .594 69.79",
        "blackening": "38.27 .649 74.06",
        "strong-blur": "40.91 .655 74.33",
        "weak-blur": "47.24 .663 75.11",
        "collective-style": "46.88 .651 74.12",
        "vita": "48.11 .638 73.89",
        "spact": "48.56 .642 73.78",
        "stprivacy": "50.73 .613 72.48",
    },
    Part(1, "VP-UCF101", "vp-ucf101", "known", "ucf101"): {
        "raw": "84.20 .684 76.62",
        "downsample-2x": "72.79 .620 71.49",
        "downsample-4x": "56.07 .615 69.85",
        "blackening": "69.41 .660 75.37",
        "strong-blur": "73.94 .672 75.58",
        "weak-blur": "77.31 .678 76.03",
        "collective-style": "78.01 .663 75.22",
        "vita": "78.49 .657 75.36",
        "spact": "78.40 .651 75.29",
        "stprivacy": "82.55 .634 73.79",
    },
    # Unseen actions: trained on one data set, tested on the other (Section 4.4). Raw is Table 1's.
    Part(2, "VP-UCF101 to VP-HMDB51", "ucf101-to-hmdb51", "unseen", "hmdb51", train_dataset="ucf101"): {
        "raw": "51.44 .673 75.58",
        "collective-style": "45.93 .633 73.36",
        "vita": "46.78 .621 73.47",
        "spact": "47.81 .618 72.56",
        "stprivacy": "49.56 .595 71.25",
    },
    Part(2, "VP-HMDB51 to VP-UCF101", "hmdb51-to-ucf101", "unseen", "ucf101", train_dataset="hmdb51"): {
        "raw": "84.20 .684 76.62",
        "collective-style": "77.12 .674 76.01",
        "vita": "77.48 .669 76.02",
        "spact": "78.13 .661 75.98",
        "stprivacy": "81.04 .645 74.60",
    },
    # Privacy of single frames (Section 4.7). The stride, the draw of the 60/40 split and what STPrivacy was trained on
    # are unpublished. Here the action recognizer and what is learned train on the official training part of HMDB51
    # without PA-HMDB51's videos, the frame recognizer on a random 60 % of PA-HMDB51; all are tested on the rest.
    Part(3, "PA-HMDB51 by frames", "pa-hmdb51", "frame-level", "pa-hmdb51", train_dataset="hmdb51", trains_all=True): {
        "raw": "51.23 .572 71.12",
        "downsample-2x": "40.38 .519 67.81",
        "downsample-4x": "31.24 .511 67.14",
        "blackening": "38.09 .557 70.02",
        "strong-blur": "40.64 ? 70.31",
        "weak-blur": "46.89 ? 70.74",
        "collective-style": "46.47 .554 69.96",
        "vita": "47.78 .549 69.45",
        "spact": "48.33 .543 69.44",
        "stprivacy": "50.61 .523 68.76",
    },
    # Expressions against five attributes of appearance (Section 4.8). The 60/40 draw is unpublished.
    Part(4, "FAPDER on CelebV-HQ", "fapder", "fapder", "celebv-hq"): {
        "raw": "73.13 .714 78.51",
        "downsample-2x": "54.53 .259 54.33",
        "downsample-4x": "41.67 .244 47.17",
        "strong-blur": "56.77 .331 63.61",
        "weak-blur": "64.22 .369 64.19",
        "collective-style": "63.65 .348 63.20",
        "vita": "66.43 .314 61.09",
        "spact": "67.12 .326 62.78",
        "stprivacy": "71.37 .280 59.30",
    },
    # Actions against objects and scenes, cMAP for all three (Section 4.8).
    Part(5, "OSPAR on P-HVU", "ospar", "ospar", "p-hvu", scores=_GROUPS): {
        "raw": "27.28 15.72 30.18",
        "downsample-2x": "17.08 11.74 24.77",
        "downsample-4x": "15.23 10.66 22.40",
        "blackening": "18.51 14.89 29.59",
        "strong-blur": "19.08 15.01 29.32",
        "weak-blur": "21.67 14.37 28.68",
        "collective-style": "22.20 14.27 28.79",
        "vita": "22.87 14.44 27.76",
        "spact": "23.16 14.02 28.59",
        "stprivacy": "26.42 12.38 25.64",
    },
}

TABLE_ROWS: Mapping[str, PaperRow] = {
    row.name: row
    for part, lines in _TABLES.items()
    for row in (PaperRow(part, anonymizer, values) for anonymizer, values in lines.items())
}
