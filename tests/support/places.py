"""Where the repository is, and the folder of real clips and published annotations beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT.parent / "shared" / "reference"
CLIPS = REFERENCE / "clips"
FAULTS = REFERENCE / "faults"
ANNOTATIONS = REFERENCE / "annotations"
