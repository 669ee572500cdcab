"""Rows of the paper's Tables 1-5, each as a change of the recipe "paper": its data, its protocol, its anonymizer.

None of them has been run on the real data here: the values are the paper's. Which boxes the paper blackened and blurred
is unpublished, as is the method of the row "Collective": see `CollectiveStyle`.
"""

from collections.abc import Callable, Mapping

from pipelines.recipes.paper_tables import table_1, table_2, table_3, table_4, table_5
from pipelines.recipes.paper_tables.row import STRIDES
from pipelines.recipes.recipe import Recipe

Row = Callable[[Recipe], Recipe]

TABLE_ROWS: Mapping[str, Row] = {
    row.__name__.replace("_", "-"): row for table in (table_1, table_2, table_3, table_4, table_5) for row in table.ROWS
}

__all__ = ["STRIDES", "TABLE_ROWS", "Row"]
