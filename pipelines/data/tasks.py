"""Work on many shards through Ray Data: bounded in its retries, and with one line for whatever ends it early."""

import logging
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from textwrap import shorten
from typing import Any, TypeVar

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError

from pipelines.data.decoder import DecoderError
from pipelines.data.decoder_process import described
from pipelines.text import one_line

Item = TypeVar("Item")
_RETRIES = 3  # of a task whose worker is lost; by itself, Ray Data retries without end
_SHOWN_CHARACTERS = 200
_RESUME = "What is done is kept; run the same command again to continue"


class IngestError(ValueError):
    """An ingest that cannot be begun or finished; one line."""


def run_tasks(items: Sequence[Item], work: Callable[[Item], str], workers: int | None) -> Iterator[tuple[int, str]]:
    """One Ray Data task an item; the position of each as soon as it is done, and what `work` says of it.

    A task whose worker is lost is run again, a few times. Needs a connected Ray.
    Raises: IngestError: `work` raised something, or a task lost its worker too often.
    """
    if not items:
        return
    rows = [{"position": position, "item": pickle.dumps(item)} for position, item in enumerate(items)]
    with warnings.catch_warnings():
        # There is no other parameter that bounds the retries.
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            partial(_run_batch, work=work), batch_size=None, num_cpus=1, concurrency=workers, max_retries=_RETRIES
        )
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # Ray Data also logs the errors that are raised here.
    try:
        for row in dataset.iter_rows():
            if row["error"]:
                raise IngestError(f"{row['error']}. {_RESUME}")
            yield int(row["position"]), str(row["said"])
    except RayError as error:
        reason = shorten(described(error).partition(". ")[0], _SHOWN_CHARACTERS)  # Ray's errors may have a page
        raise IngestError(
            f"Ray gave up a task, tried {_RETRIES + 1} times at most ({reason}): "
            f"if memory is short, use fewer --workers. {_RESUME}"
        ) from error
    finally:
        logger.setLevel(level)


def _run_batch(batch: dict[str, NDArray[Any]], work: Callable[[Any], str]) -> dict[str, NDArray[Any]]:
    """What the items' work says. Its errors come as text: Ray would make pages of them."""
    said, errors = [], []
    for content in batch["item"]:
        try:
            said.append(work(pickle.loads(content)))
            errors.append("")
        except Exception as error:  # whatever it is, the driver says it; of what should not happen also the class
            said.append("")
            expected = isinstance(error, OSError | ValueError | MemoryError | DecoderError)
            errors.append(one_line(error) if expected else described(error))
    return {"position": batch["position"], "said": np.array(said), "error": np.array(errors)}
