"""README and docs/: short, consistent with the results they quote, and naming only what exists."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.compare.matrix import ROWS
from stprivacy.attackers import ATTACKERS
from tests.support.places import ROOT

DOCS, RESULTS = ROOT / "docs", ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.glob("*.md"))]
HEADLINE = RESULTS / "2026-11-23-demo-size" / "known-actions.md"
SENTENCES = 12  # of the paper, in docs/architecture.md

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def section(page: Path, heading: str) -> str:
    """The text between a heading of the second level and the next one."""
    _, found, after = page.read_text().partition(f"\n## {heading}\n")
    assert found, f"{page.name} has no section {heading!r}"
    return after.partition("\n## ")[0]


def table(text: str) -> list[list[str]]:
    """The cells of the first table in a text, line by line; of the line below the header there is none."""
    found = re.search(r"^\|.*(?:\n\|.*)*", text, re.MULTILINE)
    assert found is not None, "there is no table"
    lines = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in found[0].splitlines()]
    return [lines[0], *lines[2:]]


def names(cells: list[list[str]]) -> list[str]:
    """The names in code quotes in the first column, header left out."""
    return [name for line in cells[1:] for name in re.findall(r"`([^`]+)`", line[0])]


def prose(text: str) -> str:
    """A page without its code, tables, headings and pictures, and with links by their words."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^(?:\||#|!\[).*$", "", text, flags=re.MULTILINE)
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)


def sentences(text: str) -> Iterator[str]:
    """Each sentence, in lower case and without punctuation."""
    for paragraph in re.split(r"\n\s*\n|\n- ", prose(text)):
        for sentence in re.split(r"(?<=[.!?:;])[*)\s]+", paragraph):
            words = re.findall(r"[\w.%]+", sentence.lower().rstrip(" .:;*"))
            if len(words) > 2:
                yield " ".join(words)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the site and GitHub make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def in_nav(entries: object) -> list[str]:
    """All pages of mkdocs.yml's nav, whatever sections they are in."""
    if isinstance(entries, dict):
        return [page for entry in entries.values() for page in in_nav(entry)]
    if isinstance(entries, list):
        return [page for entry in entries for page in in_nav(entry)]
    return [str(entries)]


def test_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 200


def test_readme_says_nothing_twice() -> None:
    counts = Counter(sentences(README.read_text()))
    assert len(counts) > 40
    assert [sentence for sentence, count in counts.items() if count > 1] == []


def test_readmes_headline_table_is_that_of_the_results() -> None:
    shown, written = table(section(README, "Results at demo size")), table(HEADLINE.read_text())
    columns = [written[0].index(header) for header in shown[0]]
    lines = {line[0]: [line[column] for column in columns] for line in written[1:]}
    assert {"raw", "stprivacy", "initialised-only", "random-selection", "floor"} <= {line[0] for line in shown[1:]}
    for line in shown[1:]:
        assert line == lines[line[0]]


@by_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.is_file(), f"{page.name} links to {target}"
        if page is not README:
            assert file.resolve().is_relative_to(DOCS), f"{target} is not part of the site"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {target}, a heading that is not there"


def test_every_page_is_in_the_navigation() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert settings["strict"] is True
    assert sorted(in_nav(settings["nav"])) == sorted(page.name for page in DOCS.glob("*.md"))


@by_page
def test_included_results_exist(page: Path) -> None:
    for name, part in re.findall(r'^--8<-- "([^":]+):?([^"]*)"$', page.read_text(), re.MULTILINE):
        assert (RESULTS / name).is_file(), f"{page.name} includes {name}"
        text = (RESULTS / name).read_text()
        assert not part or {f"[start:{part}]", f"[end:{part}]"} <= set(re.findall(r"\[(?:start|end):.*?\]", text))


@by_page
def test_named_files_exist(page: Path) -> None:
    text = page.read_text().replace("jobs/NAME.py", "")
    places = "pipelines|stprivacy|jobs|benchmarks|tests|docs|k8s"
    named = set(re.findall(rf"(?<![\w/.-])((?:{places})/[\w/.-]*\w)", text))
    named |= {f"benchmarks/{module}.py" for module in re.findall(r"python\s-m\sbenchmarks\.(\w+)", text)}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_papers_sentences_lead_to_code() -> None:
    lines = table(section(DOCS / "architecture.md", "From the paper to the code"))[1:]
    assert len(lines) == SENTENCES
    for _, file, name in lines:
        code = (ROOT / file.strip("`")).read_text()
        assert re.search(rf"^(?:class |def )?{name.strip('`')}\b", code, re.MULTILINE), f"{file} has no {name}"


def test_the_page_on_evaluation_names_all_rows_and_attackers() -> None:
    page = DOCS / "evaluation.md"
    assert set(names(table(section(page, "Anonymizers")))) == set(ROWS)
    assert set(names(table(section(page, "Attackers")))) == set(ATTACKERS)


def test_the_first_page_names_all_commands() -> None:
    jobs = {job.stem for job in (ROOT / "jobs").glob("*.py")} - {"__init__"}
    assert set(names(table(section(DOCS / "index.md", "Commands")))) == jobs
