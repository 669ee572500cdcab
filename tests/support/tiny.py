"""The smallest STPrivacy and recognizer that show every behaviour: two stages, 4 frames of 32 x 32 pixels."""

from stprivacy.config import ClipConfig, ModelConfig, RecognizerConfig

CLIP = ClipConfig(frames=4, height_px=32, width_px=32)
MODEL = ModelConfig(
    clip=CLIP,
    embed_dim=24,
    num_heads=2,
    stage_depths=(1, 1),
    anonymizer_depth=1,
    stem="tubelet_mlp",
    mask_gradient="bounded",
    normalize_output=True,
)
RECOGNIZER = RecognizerConfig(embed_dim=24, num_heads=2, depth=1, stem="tubelet_mlp", mask_gradient="bounded")
