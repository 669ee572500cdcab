"""The five protocols of evaluation: which data and which anonymizer each takes, checked before anything starts."""

from collections.abc import Mapping

from pipelines.data.datasets import celebv_hq, p_hvu
from pipelines.data.index import Description, read_description
from pipelines.runs.config import EvaluateRun, ProtocolName, read_config
from pipelines.runs.inputs import check_unchanged, is_other, trained_on
from stprivacy.attackers import DEFAULT_ATTACKERS
from stprivacy.plain import listed
from stprivacy.storage import location

PROTOCOLS: Mapping[ProtocolName, str] = {
    "known": "STPrivacy is trained on the data set that it is tested on (Section 4.4, Table 1)",
    "unseen": "STPrivacy is trained on another data set than the one it is tested on (Section 4.4, Table 2)",
    "frame-level": "the private attributes of single frames, read by a 2D recognizer (Section 4.7, Table 3)",
    "fapder": "expressions as actions against five attributes of appearance (Section 4.8, Table 4)",
    "ospar": "several actions against objects and scenes, cMAP for all three (Section 4.8, Table 5)",
}


def check_protocol(run: EvaluateRun) -> None:
    """Check that an evaluation's data and anonymizer match its protocol.

    Raises: ValueError: they are not; the message says what was expected where.
    """
    check_data(run)
    if run.from_run:
        _check_source(run, read_description(location(run.data)))


def check_data(run: EvaluateRun) -> None:
    """Check that an evaluation's data match its protocol. Raises: ValueError: as `check_protocol`."""
    data = read_description(location(run.data))
    single = "one action for each video, and this data set has several: that is protocol ospar"
    if data.multi_label and run.protocol != "ospar":
        raise ValueError(f"{run.data}: protocol {run.protocol} takes {single}")
    if bool(run.action_data) != (run.protocol == "frame-level"):
        raise ValueError(
            "protocol frame-level, and no other, takes --action-data: the ingested data set that the action "
            f"recognizer is trained on (HMDB51 for PA-HMDB51). Got {run.action_data!r} and protocol {run.protocol}"
        )
    if run.protocol == "frame-level" and run.attackers != DEFAULT_ATTACKERS:
        raise ValueError(
            f"protocol frame-level has attackers of its own, 2D forms of {' and '.join(DEFAULT_ATTACKERS)}: leave "
            f"--attackers out, got {', '.join(run.attackers)}"
        )
    if run.protocol == "fapder" and set(data.attribute_names) != set(celebv_hq.ATTRIBUTE_NAMES):
        raise ValueError(
            f"{run.data}: protocol {run.protocol} takes the attributes {listed(celebv_hq.ATTRIBUTE_NAMES)}; the data "
            f"set has {listed(data.attribute_names)}"
        )
    if run.protocol == "ospar":
        attribute_groups(run)


def attribute_groups(run: EvaluateRun) -> dict[str, list[int]]:
    """The attributes that the protocol scores together: their columns by the group's name; none but in ospar.

    Raises: ValueError: an attribute that is neither an object nor a scene, no object or no scene, or one action only.
    """
    if run.protocol != "ospar":
        return {}
    data = read_description(location(run.data))
    groups = {
        kind: [i for i, name in enumerate(data.attribute_names) if name.startswith(f"{kind}_")]
        for kind in p_hvu.PRIVATE
    }
    if not data.multi_label or not all(groups.values()) or sum(map(len, groups.values())) < len(data.attribute_names):
        raise ValueError(
            f"{run.data}: protocol ospar takes a data set with several actions for each video and attributes "
            f"object_<name> and scene_<name>, as p-hvu is; this is {data.dataset} with multi_label {data.multi_label} "
            f"and the attributes {listed(data.attribute_names)}"
        )
    return groups


def _check_source(run: EvaluateRun, data: Description) -> None:
    """The run whose anonymizer is tested."""
    folder = location(run.from_run)
    source = read_config(folder)
    check_unchanged(folder, run.data)
    begun = trained_on(folder)
    here = {"fingerprint": data.fingerprint}
    moved = begun.get("data", {}).get("fingerprint") == data.fingerprint
    trained_here = moved or location(source.data) == location(run.data)
    if run.protocol in ("known", "fapder", "ospar") and not trained_here:
        raise ValueError(
            f"protocol {run.protocol} tests an anonymizer on the data set that it was trained on, but {folder} was "
            f"trained on {source.data}, and this is {run.data}. For another data set: --protocol unseen"
        )
    if run.protocol == "unseen" and trained_here:
        raise ValueError(
            f"protocol unseen tests an anonymizer on another data set than it was trained on, but {folder} was trained "
            f"on this one, {run.data}. For the same data set: --protocol known"
        )
    excluded = source.exclude == run.data and not is_other(begun.get("exclude", {}), here)
    if run.protocol == "frame-level" and not trained_here and not excluded:
        raise ValueError(
            f"protocol frame-level tests on {run.data}, and {folder} may have been trained on its test videos, in "
            f"{source.data}: train it again, jobs/init.py with --exclude {run.data}"
        )
