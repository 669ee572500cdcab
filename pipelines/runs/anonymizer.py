"""The anonymizer that an evaluation tests."""

from collections.abc import Sequence

from pipelines.runs.config import EvaluateRun
from stprivacy.anonymizers import Anonymizer, STPrivacy, make_anonymizer
from stprivacy.anonymizers.as_released import AsReleased, value_range
from stprivacy.deploy.load import Warn, load_anonymizer
from stprivacy.storage import location


def tested_anonymizer(run: EvaluateRun, attribute_names: Sequence[str], warn: Warn) -> Anonymizer:
    """The anonymizer that an evaluation tests, with the recipient's copy in place of its output where that is wanted.

    Raises: ValueError: the run that it comes from is gone, or has no anonymizer of these attributes.
    """
    source = location(run.from_run)
    loaded = load_anonymizer(source, attribute_names, run.allow_older_weights, warn) if run.from_run else None
    model = loaded or make_anonymizer(run.anonymizer, run.model, run.rival())
    if not run.as_released:
        return model
    whitest = value_range(loaded.config) if isinstance(loaded, STPrivacy) else 1.0
    return AsReleased(model, run.model.clip, run.released_quality, whitest)
