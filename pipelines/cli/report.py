"""The report as one command: find the runs, draw every section, write the page."""

import json
import shlex
from pathlib import Path

import tyro
from matplotlib import rc_context

from pipelines.locations import Location
from pipelines.progress import Progress
from pipelines.reports.page import write_page
from pipelines.reports.runs import Section, find_runs
from pipelines.reports.sections import Content, draw_charts, draw_clips
from pipelines.reports.styles import styles_of
from stprivacy.storage import checked_location


def main() -> None:
    """Parse the command line and write the report."""
    print(*tyro.cli(write_report, description="Pictures and one page of finished evaluations."), sep="\n")


def write_report(runs: Location, out: Location, clips: int = 3, mask_videos: int = 100) -> list[Path]:
    """Draw all finished evaluations below a folder, and write report.html, report.json and the pictures.

    Args:
        runs: folder below which the runs lie: the --out of jobs/compare.py, of jobs/demo.py or of single jobs
        out: folder of the report
        clips: test clips in each strip
        mask_videos: test videos in which kept tubelets are counted
    """
    if clips < 1 or mask_videos < 1:
        raise ValueError(f"--clips and --mask-videos must be 1 or more, got {clips} and {mask_videos}")
    runs, out = checked_location(runs), checked_location(out)
    sections, left_out = find_runs(runs)
    # Names are no formulas, whatever characters they hold.
    with Progress() as progress, rc_context({"text.parse_math": False}):
        contents = _draw(sections, out / "pictures", clips, mask_videos, progress)
    command = shlex.join(["python", "jobs/report.py", "--runs", str(runs), "--out", str(out)])
    about = {
        "command": command,
        "sections": [
            {"title": content.section.title, "settings": dict(content.section.settings), **content.values}
            for content in contents
        ],
        "left_out": [{"folder": str(one.folder), "why": one.why} for one in left_out],
    }
    (out / "report.json").write_text(json.dumps(about, indent=1, allow_nan=False), encoding="utf-8")
    write_page(out / "report.html", contents, left_out, command, runs)
    return [out / "report.html", out / "report.json", *sorted((out / "pictures").rglob("*.png"))]


def _draw(sections: list[Section], folder: Path, clips: int, mask_videos: int, progress: Progress) -> list[Content]:
    styles = styles_of([label for section in sections for label in section.labels])
    contents = []
    for number, section in enumerate(sections, start=1):
        own = folder / f"section-{number}"
        content = draw_charts(section, styles, own)
        twin = next((x for x in sections if x is not section and _shows_for(x, section)), None)
        if twin:
            content.said.append(f"The clips and masks of these rows are shown under: {twin.title}.")
        else:
            task = progress.task(f"draw {section.title}", total=len(section.labels), unit="rows")
            draw_clips(content, styles, own, clips, mask_videos, task.update)
            task.update(len(section.labels))
            task.finish()
        contents.append(content)
    return contents


def _shows_for(other: Section, section: Section) -> bool:
    """Whether the pictures of `other`, of known actions, stand for those of `section`, of unseen ones."""
    protocols = other.settings["protocol"], section.settings["protocol"]
    return protocols == ("known", "unseen") and section.same_rows_elsewhere(other)
