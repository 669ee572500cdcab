"""The articulated figure: from joint angles to joints, and from joints and appearance to pixels."""

import colorsys
from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

from pipelines.data.datasets.synth.actions import OUTWARD, Array, Pose

Color = tuple[int, int, int]
Point = tuple[float, float]

# Lengths in body heights. The head is large, so that a face of 10 pixels is left when a clip is shrunk to 64.
HEAD_RADIUS = 0.124
THIGH, SHIN, TRUNK, UPPER_ARM, FOREARM = 0.21, 0.21, 0.33, 0.165, 0.165
SHOULDER_HALF, SHOULDER_DROP, HIP_HALF, NECK = 0.112, 0.03, 0.052, 0.015
ARM_WIDTH, LEG_WIDTH = 0.066, 0.084
PELVIS, CHEST, HEAD, SHOULDER, ELBOW, HAND, HIP, KNEE, FOOT = 0, 1, 2, 3, 5, 7, 9, 11, 13
_WHITE, _DARK = (250, 250, 250), (24, 18, 20)
_SKIN_TONES = ((248, 208, 176), (236, 184, 144), (214, 156, 114), (184, 124, 84), (146, 94, 60), (118, 74, 46))
_HAIR = ((30, 24, 20), (78, 48, 26), (142, 92, 44), (214, 178, 102), (150, 60, 36), (150, 148, 150), (70, 60, 150))


@dataclass(frozen=True)
class Appearance:
    """How a figure looks. Every field but the four flags is drawn without looking at them."""

    bare_arms: bool
    open_face: bool
    long_hair_and_skirt: bool
    bare_torso: bool
    from_behind: bool
    skin: Color
    hair: Color
    shirt: Color
    trim: Color
    trousers: Color
    shoes: Color
    mask: Color
    hair_length: float
    skirt_length: float
    build: float
    pattern: int


def random_cloth(rng: np.random.Generator) -> Color:
    """A strong color from green to purple, never that of skin: a bare arm is told from a sleeve by it."""
    return _rgb(rng.uniform(0.28, 0.88), rng.uniform(0.5, 0.95), rng.uniform(0.35, 0.95))


def random_wall(rng: np.random.Generator) -> Color:
    """A pale or grey color of any hue, that of skin included."""
    return _rgb(rng.random(), rng.uniform(0.02, 0.28), rng.uniform(0.2, 0.95))


def random_hair(rng: np.random.Generator) -> Color:
    """One of a few natural and dyed colors."""
    return _HAIR[rng.integers(len(_HAIR))]


def _rgb(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_appearance(rng: np.random.Generator, flags: tuple[int, ...], from_behind: bool = False) -> Appearance:
    """Random colors and shapes for `flags` (skin_color, face, gender, nudity)."""
    bare_arms, open_face, long_hair_and_skirt, bare_torso = (bool(flag) for flag in flags)
    return Appearance(
        bare_arms=bare_arms,
        open_face=open_face,
        long_hair_and_skirt=long_hair_and_skirt,
        bare_torso=bare_torso,
        from_behind=from_behind,
        skin=_SKIN_TONES[rng.integers(len(_SKIN_TONES))],
        hair=random_hair(rng),
        shirt=random_cloth(rng),
        trim=random_cloth(rng),
        trousers=random_cloth(rng),
        shoes=random_cloth(rng),
        mask=random_cloth(rng),
        hair_length=float(rng.uniform(0.26, 0.36)),
        skirt_length=float(rng.uniform(0.2, 0.26)),
        build=float(rng.uniform(0.88, 1.15)),
        pattern=int(rng.integers(3)),
    )


def figure_joints(pose: Pose, build: float) -> Array:
    """Joints [t 15 2] in body heights (x to the right, y down) from the ground below the pelvis."""
    pelvis_y = -(_drop(pose.thigh) * THIGH * pose.thigh_length + _drop(pose.shin) * SHIN).max(axis=1) - pose.lift
    pelvis = np.stack([pose.shift, pelvis_y], axis=-1)
    lean = np.radians(pose.lean)[:, None]
    up = np.concatenate([np.sin(lean), -np.cos(lean)], axis=1)
    across = np.concatenate([np.cos(lean), np.sin(lean)], axis=1)[:, None] * OUTWARD[:, None] * build
    chest = pelvis + TRUNK * pose.trunk_length[:, None] * up
    head = chest + (NECK + HEAD_RADIUS) * up
    shoulders = chest[:, None] + across * SHOULDER_HALF - up[:, None] * SHOULDER_DROP
    elbows = shoulders + _segment(pose.upper_arm) * UPPER_ARM * pose.arm_length[..., None]
    hands = elbows + _segment(pose.forearm) * FOREARM * pose.arm_length[..., None]
    hips = pelvis[:, None] + across * HIP_HALF
    knees = hips + _segment(pose.thigh) * THIGH * pose.thigh_length[..., None]
    feet = knees + _segment(pose.shin) * SHIN
    core = np.stack([pelvis, chest, head], axis=1)
    return np.concatenate([core, shoulders, elbows, hands, hips, knees, feet], axis=1)


def _segment(degrees: Array) -> Array:
    radians = np.radians(degrees)
    return np.stack([np.sin(radians), np.cos(radians)], axis=-1)


def _drop(degrees: Array) -> Array:
    return np.asarray(np.cos(np.radians(degrees)))


def figure_boxes(joints: Array, height_px: float) -> Array:
    """Boxes [t 4] (x0, y0, x1, y1) around joints [t 15 2], all in pixels of one scale."""
    pad = height_px * np.full((joints.shape[1], 1), LEG_WIDTH / 2)
    pad[HEAD] = height_px * (HEAD_RADIUS + 0.01)
    return np.concatenate([(joints - pad).min(axis=1), (joints + pad).max(axis=1)], axis=1)


def shaded(color: Color, factor: float) -> Color:
    """The color made darker (factor below 1) or lighter."""
    red, green, blue = (min(255, round(channel * factor)) for channel in color)
    return red, green, blue


class FigurePainter:
    """Paints one figure of `unit` pixels body height, frame by frame."""

    def __init__(self, look: Appearance, unit: float) -> None:
        self._look, self._unit = look, unit
        self._arm = look.skin if look.bare_arms else look.shirt if not look.bare_torso else look.trim
        self._hand = look.skin if look.bare_arms else look.shoes

    def paint(self, draw: ImageDraw.ImageDraw, joints: Array) -> None:
        """Paint the figure with joints [15 2] in pixels."""
        look, unit = self._look, self._unit
        points: list[Point] = [(float(x), float(y)) for x, y in joints]
        if look.long_hair_and_skirt:
            (x, y), radius = points[HEAD], unit * HEAD_RADIUS * 1.4
            draw.rounded_rectangle((x - radius, y - radius, x + radius, y + unit * look.hair_length), radius, look.hair)
        for side in (0, 1):
            leg = [points[HIP + side], points[KNEE + side], points[FOOT + side]]
            self._line(draw, leg, LEG_WIDTH, shaded(look.trousers, 0.82 if side else 1.0))
            draw.circle(leg[2], unit * 0.046, look.shoes)
        self._torso(draw, points)
        for side in (0, 1):
            arm = [points[SHOULDER + side], points[ELBOW + side], points[HAND + side]]
            # Without an edge, a bare arm in front of a bare torso could not be seen to move.
            self._line(draw, arm, ARM_WIDTH + 0.022, shaded(self._arm, 0.6))
            self._line(draw, arm, ARM_WIDTH, self._arm)
            draw.circle(arm[2], unit * 0.036, self._hand)
        self._head(draw, points[HEAD])

    def _line(self, draw: ImageDraw.ImageDraw, points: list[Point], width: float, color: Color) -> None:
        thickness = self._unit * width * self._look.build
        draw.line(points, color, round(thickness))
        for point in points:
            draw.circle(point, thickness / 2, color)

    def _torso(self, draw: ImageDraw.ImageDraw, points: list[Point]) -> None:
        look, unit = self._look, self._unit
        (left, right), (px, py) = (points[SHOULDER], points[SHOULDER + 1]), points[PELVIS]
        half, top = unit * 0.088 * look.build, unit * 0.035
        hips = [(px + half, py + top), (px - half, py + top)]
        color = look.skin if look.bare_torso else look.shirt
        draw.polygon([(left[0], left[1] - top), (right[0], right[1] - top), *hips], color)
        self._torso_detail(draw, points)
        if look.long_hair_and_skirt:
            bottom, flare = py + unit * look.skirt_length, half * 2.7
            waist = [(px - half, py - top), (px + half, py - top)]
            draw.polygon([*waist, (px + flare, bottom), (px - flare, bottom)], shaded(look.trousers, 0.9))
        else:
            draw.rectangle((px - half, py - top * 0.4, px + half, py + top), look.trousers)

    def _torso_detail(self, draw: ImageDraw.ImageDraw, points: list[Point]) -> None:
        look, unit = self._look, self._unit
        (px, py), (cx, cy) = points[PELVIS], points[CHEST]
        at = [(px + (cx - px) * part, py + (cy - py) * part) for part in (0.25, 0.45, 0.65)]
        ink = shaded(look.skin, 0.66) if look.bare_torso else look.trim
        half, thick = unit * 0.08 * look.build, max(1, round(unit * 0.018))
        if look.pattern == 0:
            draw.line([(at[2][0] - half, at[2][1]), (at[2][0] + half, at[2][1])], ink, thick)
            draw.circle(at[0], unit * 0.013, ink)
        elif look.pattern == 1:
            draw.line([at[0], at[2]], ink, thick)
        else:
            for x, y in at[1:]:
                draw.line([(x - half * 0.7, y), (x + half * 0.7, y)], ink, thick)

    def _head(self, draw: ImageDraw.ImageDraw, at: Point) -> None:
        look, radius = self._look, self._unit * HEAD_RADIUS
        x, y = at
        if look.from_behind:
            draw.circle(at, radius, look.hair)
            return
        draw.circle(at, radius, look.skin if look.open_face else look.mask)
        if look.open_face:
            self._face(draw, at)
        else:
            self._mask_pattern(draw, at)
        draw.chord((x - radius * 1.06, y - radius * 1.12, x + radius * 1.06, y + radius), 198, 342, look.hair)

    def _face(self, draw: ImageDraw.ImageDraw, at: Point) -> None:
        (x, y), radius = at, self._unit * HEAD_RADIUS
        for out in OUTWARD:
            eye = x + out * radius * 0.42
            draw.ellipse((eye - radius * 0.3, y - radius * 0.24, eye + radius * 0.3, y + radius * 0.2), _WHITE)
            draw.circle((eye, y), radius * 0.15, _DARK)
        draw.ellipse((x - radius * 0.42, y + radius * 0.42, x + radius * 0.42, y + radius * 0.72), (150, 32, 40))

    def _mask_pattern(self, draw: ImageDraw.ImageDraw, at: Point) -> None:
        # As many edges as a face has, or the size of the file would tell which it is.
        (x, y), radius, ink = at, self._unit * HEAD_RADIUS, self._look.trim
        for start, color in ((-0.52, ink), (-0.12, _WHITE), (0.3, _DARK)):
            low, high, long = radius * start, radius * (start + 0.3), radius * 0.72
            if self._look.pattern == 1:
                draw.rectangle((x + low, y - long, x + high, y + long), color)
            else:
                draw.rectangle((x - long, y + low, x + long, y + high), color)
