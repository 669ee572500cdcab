"""report.html: one file with all pictures inside, which needs no network and no other file."""

import base64
from collections.abc import Sequence
from pathlib import Path

import jinja2

from pipelines.reports.runs import LeftOut
from pipelines.reports.sections import Content


def write_page(file: Path, contents: Sequence[Content], left_out: Sequence[LeftOut], command: str, runs: Path) -> None:
    """Lay out the sections. All texts are escaped: names come from files."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["embedded"] = _embedded
    page = environment.get_template("page.html").render(
        contents=contents,
        notes=dict.fromkeys(note for content in contents for note in content.notes),
        left_out=left_out,
        command=command,
        runs=runs,
    )
    file.write_text(page, encoding="utf-8")


def _embedded(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")
