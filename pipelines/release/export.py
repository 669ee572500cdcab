"""A trained STPrivacy as a program of another runtime, and the proof that it computes what the network computes."""

import importlib.util
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from stprivacy.anonymizers.as_released import value_range
from stprivacy.checkpoint import weights_digest
from stprivacy.config import check_keep_ratio
from stprivacy.models.anonymizer import STPrivacy
from stprivacy.plain import to_dict
from stprivacy.storage import make_folder, write_whole

ExportFormat = Literal["onnx", "torch-export"]
Program = Callable[[Tensor], tuple[Tensor, Tensor]]
FORMAT_VERSION = 1
LARGEST_DIFFERENCE = 1e-3  # between video values of the network and of what is written
# Two batch sizes at least, 1 and 2, must be seen to give the same.
FEWEST_CLIPS = 3
_BATCH_CLIPS = 8
_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_OPSET = 20  # the newest that runtimes of the last years read; attention is spelled out in it


class FixedNetwork(nn.Module):
    """STPrivacy in evaluation at one keep ratio, as a function between tensors: what an export computes."""

    def __init__(self, network: STPrivacy, keep_ratio: float) -> None:
        super().__init__()
        self.network, self.keep_ratio = network, check_keep_ratio(keep_ratio)
        self.eval()

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Clip [b 3 t h w] in [-1, 1] -> video [b 3 t h w] in model values, and keep [b l n] in {0, 1}."""
        anonymized = self.network(clip, keep_ratio=self.keep_ratio)
        return anonymized.video, anonymized.keep

    def metadata(self) -> dict[str, str]:
        """What a user of the file must know: settings as JSON, by name."""
        config = self.network.config
        return {
            "format_version": str(FORMAT_VERSION),
            "weights_sha256": weights_digest(self.network.state_dict()),
            "keep_ratio": json.dumps(self.keep_ratio),
            "clip": json.dumps(to_dict(config.clip)),
            "value_range": json.dumps(value_range(config)),
        }


@dataclass(frozen=True)
class Parity:
    """How far a program is from its network: the largest absolute difference of video values, and mask entries."""

    batch_sizes: tuple[int, ...]
    difference: float
    mask_entries: int
    mask_differences: int

    @property
    def holds(self) -> bool:
        """Whether they are the same within LARGEST_DIFFERENCE, masks exactly; never where a value is no number."""
        return self.difference <= LARGEST_DIFFERENCE and self.mask_differences == 0

    def __str__(self) -> str:
        sizes = ", ".join(map(str, self.batch_sizes))
        return (
            f"{'clips':<22} {sum(self.batch_sizes)}, in batches of {sizes}\n"
            f"{'max abs difference':<22} {self.difference:.2e} of the video, {LARGEST_DIFFERENCE:g} allowed\n"
            f"{'differing mask entries':<22} {self.mask_differences} of {self.mask_entries}"
        )


def export(fixed: FixedNetwork, out: Path, file_format: ExportFormat, clips: Tensor) -> Parity:
    """Translate a network, run both on real clips [b 3 t h w] in [-1, 1], and write the program only if it is the same.

    Raises: ValueError: `out` exists, too few clips, no package for the format, or a program that computes something
        else; nothing is written then.
    """
    if out.exists():
        raise ValueError(f"{out} exists already: give another --out, or remove it first")
    if len(clips) < FEWEST_CLIPS:
        raise ValueError(f"parity takes {FEWEST_CLIPS} clips or more, for two batch sizes: there are {len(clips)}")
    check_packages(file_format)
    translate = _onnx_bytes if file_format == "onnx" else _torch_bytes
    content = translate(_traced(fixed), fixed.metadata())
    parity = compare(fixed, load_program(content, file_format), clips)
    if not parity.holds:
        raise ValueError(
            f"the {file_format} program is not the network: its video differs by up to {parity.difference:.2e}, where "
            f"{LARGEST_DIFFERENCE:g} is allowed, and its mask in {parity.mask_differences} of {parity.mask_entries} "
            "entries, where none may. Nothing was written"
        )
    make_folder(out.parent)
    write_whole(out, content)
    return parity


def check_packages(file_format: ExportFormat) -> None:
    """Raise ValueError, with the command that installs them, where packages of a format are missing."""
    missing = [name for name in _ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if file_format == "onnx" and missing:
        raise ValueError(f"--format onnx needs packages that are not installed: pip install {' '.join(missing)}")


def load_program(content: bytes, file_format: ExportFormat) -> Program:
    """The program in a file's bytes, on the CPU: ONNX by ONNX Runtime, torch-export by PyTorch."""
    if file_format == "torch-export":
        program: Program = torch.export.load(io.BytesIO(content)).module()
        return program
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(clip: Tensor) -> tuple[Tensor, Tensor]:
        video, keep = session.run(["video", "keep"], {"clip": clip.numpy()})
        return torch.from_numpy(video), torch.from_numpy(keep)

    return run


@torch.no_grad()
def compare(network: Program, program: Program, clips: Tensor) -> Parity:
    """Run both on clips [b 3 t h w], first one alone, then several at a time."""
    batches = [clips[:1], *torch.split(clips[1:], _BATCH_CLIPS)]
    differences, entries, wrong = [], 0, 0
    for batch in batches:
        (video, keep), (other_video, other_keep) = network(batch), program(batch)
        differences.append((video - other_video).abs().max())
        entries += keep.numel()
        wrong += int((keep != other_keep).sum())
    # torch's maximum is NaN where any is.
    return Parity(tuple(map(len, batches)), float(torch.stack(differences).max()), entries, wrong)


@torch.no_grad()
def _traced(fixed: FixedNetwork) -> ExportedProgram:
    clip = fixed.network.config.clip
    # The file keeps its example, which must be nobody's clip.
    example = torch.zeros(2, 3, clip.frames, clip.height_px, clip.width_px)
    return torch.export.export(fixed, (example,), dynamic_shapes={"clip": {0: Dim("batch", min=1)}})


def _torch_bytes(program: ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    # They quote source lines, with paths of this machine.
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files=dict(metadata))
    return buffer.getvalue()


def _onnx_bytes(program: ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    translated = torch.onnx.export(
        program,
        input_names=["clip"],
        output_names=["video", "keep"],
        opset_version=_OPSET,
        external_data=False,
        verbose=False,
    )
    assert translated is not None
    # It quotes source lines, with paths of this machine.
    ClearMetadataAndDocStringPass()(translated.model)
    model = translated.model_proto
    model.graph.ClearField("value_info")
    for value in (*model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for name, text in metadata.items():
        model.metadata_props.add(key=name, value=text)
    content: bytes = model.SerializeToString()
    return content
