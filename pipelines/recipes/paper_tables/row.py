"""What all rows of the paper's tables are made by."""

from collections.abc import Mapping
from dataclasses import replace

from pipelines.recipes.recipe import Recipe
from pipelines.runs.config import ProtocolName
from stprivacy.anonymizers import LEARNED, AnonymizerName

# Every n-th frame (Sections 4.3 and 4.8). PA-HMDB51's is unpublished: HMDB51's.
STRIDES: Mapping[str, int] = {"hmdb51": 2, "ucf101": 4, "pa-hmdb51": 2, "celebv-hq": 2, "p-hvu": 2}


def table_row(
    paper: Recipe, anonymizer: AnonymizerName, protocol: ProtocolName, dataset: str, train_dataset: str = ""
) -> Recipe:
    """The paper's recipe for an anonymizer that is tested on `dataset`.

    What is trained for it, is trained on `train_dataset`, if that is given (and in protocol frame-level the action
    recognizer, too).
    """
    recipe = paper.training(anonymizer) if anonymizer in LEARNED else paper
    test = replace(recipe.evaluate, anonymizer=anonymizer, protocol=protocol)
    if anonymizer not in LEARNED:
        test = replace(test, deploy_keep_ratio=1.0)
    return replace(
        recipe,
        evaluate=test,
        dataset=dataset,
        train_dataset=train_dataset,
        stride=STRIDES[dataset],
    )
