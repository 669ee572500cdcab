"""Tables as CSV files that spreadsheets open."""

import csv
import re
from typing import Any

import pandas as pd

# A spreadsheet takes a cell that begins so for a formula; characters of full width count.
_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?", re.IGNORECASE)


def csv_text(table: pd.DataFrame) -> str:
    """The table as CSV, without its index. Texts that a spreadsheet would run begin with '; numbers stay numbers."""
    table = table.rename(columns=_inert).map(_inert)
    # Quoted, as a carriage return within a text would begin a new line, whose first cell nobody has looked at.
    return str(table.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC))


def _inert(cell: Any) -> Any:
    runs = isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if runs else cell
