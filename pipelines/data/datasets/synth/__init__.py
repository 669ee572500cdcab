"""vp-synth and vp-synth-b: generated videos of actions with exact private attributes, written as HMDB51 is."""

from pipelines.data.datasets.synth.settings import ATTRIBUTE_NAMES, Clip, SynthSettings, clips
from pipelines.data.datasets.synth.writer import clip_bytes, generate

__all__ = ["ATTRIBUTE_NAMES", "Clip", "SynthSettings", "clip_bytes", "clips", "generate"]
