"""The scene around the actor: clutter, a second person or an object of the same size, camera, light and noise."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipelines.data.datasets.synth import figure
from pipelines.data.datasets.synth.actions import ACTION_SETS, Array, draw_tempo, idle, perform
from pipelines.data.datasets.synth.settings import Clip, SynthSettings, clip_generator

Frame = NDArray[np.uint8]
FRAME_RATES = (15, 20, 24, 25, 30)
_SUPERSAMPLE = 2
# One pool of noise a clip, read from another place for each frame: fresh noise would cost more than painting.
_NOISE_BANK = 1 << 14
# What shirt, trousers and hair of a person cover, in squared body heights.
_DECOY_AREAS = (0.11, 0.095, 0.05)


@dataclass(frozen=True)
class Scene:
    """One clip before it is painted. Pixels are of the finished picture.

    Args:
        fps: frames per second
        camera: displacement of the camera in pixels [t 2]
        actor: joints of the actor in pixels [t 15 2]
        companion: joints of the second person, or of the object in its place, in pixels [t 15 2]
        actor_px, companion_px: body heights
        actor_look, companion_look: appearance
        companion_is_person: whether the companion is painted as a person
    """

    fps: int
    camera: Array
    actor: Array
    companion: Array
    actor_px: float
    companion_px: float
    actor_look: figure.Appearance
    companion_look: figure.Appearance
    companion_is_person: bool


def build_scene(settings: SynthSettings, clip: Clip) -> Scene:
    """Draw everything that moves. Nothing but the appearance and `companion_is_person` looks at the attributes."""
    rng = clip_generator(settings, clip, "stage")
    fps = int(rng.choice(FRAME_RATES))
    frames = max(round(fps * rng.uniform(1.4, 1.9)), 30)
    tempo = draw_tempo(rng, frames, fps)
    pose = perform(ACTION_SETS[settings.actions][clip.action], tempo)
    actor_px = settings.height_px * rng.uniform(0.68, 0.78)
    camera = _camera(rng, tempo.seconds, settings.height_px)
    # The camera follows a walk, but falls behind.
    camera[:, 0] += pose.shift * actor_px * rng.uniform(0.1, 0.4)
    ground = np.array([settings.width_px / 2, settings.height_px * 0.885])
    ground = ground + settings.height_px * rng.uniform([-0.06, -0.02], [0.06, 0.02])
    look = figure.draw_appearance(clip_generator(settings, clip, "actor"), clip.privacy[:4])
    actor = figure.figure_joints(pose, look.build) * actor_px + (ground - camera)[:, None]
    beside = clip_generator(settings, clip, "companion")
    # Seen from behind and covered: whoever it is shows none of the actor's attributes.
    companion_look = figure.draw_appearance(beside, (0, 0, 0, 0), from_behind=True)
    companion_px = actor_px * beside.uniform(0.82, 1.02)
    standing = figure.figure_joints(perform(idle, draw_tempo(beside, frames, fps)), companion_look.build)
    offset = settings.height_px * beside.uniform(0.24, 0.38) * beside.choice([-1, 1])
    place = ground + np.array([offset, -settings.height_px * beside.uniform(0.0, 0.06)])
    companion = standing * companion_px + (place - camera)[:, None]
    person = bool(clip.privacy[4])
    return Scene(fps, camera, actor, companion, actor_px, companion_px, look, companion_look, person)


def _camera(rng: np.random.Generator, seconds: Array, height_px: int) -> Array:
    pan = rng.uniform([-0.04, -0.01], [0.04, 0.01]) * seconds[:, None]
    rate, phase = rng.uniform(0.4, 2.4, (4, 2)), rng.uniform(0, 2 * np.pi, (4, 2))
    shake = np.sin(2 * np.pi * rate * seconds[:, None, None] + phase).mean(axis=1) * rng.uniform(0.001, 0.008)
    return np.asarray((pan + shake) * height_px)


def person_boxes(settings: SynthSettings, scene: Scene) -> list[list[list[float]]]:
    """For every frame the boxes of its persons, the actor's first: x0, y0, x1, y1 in fractions of width and height."""
    people = [figure.figure_boxes(scene.actor, scene.actor_px)]
    if scene.companion_is_person:
        people.append(figure.figure_boxes(scene.companion, scene.companion_px))
    size = np.array([settings.width_px, settings.height_px] * 2)
    boxes = np.clip(np.stack(people, axis=1) / size, 0.0, 1.0).round(4)  # t person 4
    found: list[list[list[float]]] = boxes.tolist()
    return found


def render(settings: SynthSettings, clip: Clip, scene: Scene) -> Iterator[Frame]:
    """Paint the clip: frames [h w 3], 8 bits."""
    backdrop, margin = _backdrop(settings, clip, scene)
    actor = figure.FigurePainter(scene.actor_look, scene.actor_px * _SUPERSAMPLE)
    companion: figure.FigurePainter | ObjectPainter
    if scene.companion_is_person:
        companion = figure.FigurePainter(scene.companion_look, scene.companion_px * _SUPERSAMPLE)
    else:
        companion = ObjectPainter(clip_generator(settings, clip, "object"), scene.companion_px * _SUPERSAMPLE)
    rng = clip_generator(settings, clip, "light")
    light = _light(rng, settings)
    flicker = 1 + rng.uniform(0, 0.05) * np.sin(np.arange(len(scene.camera)) * rng.uniform(0.1, 1.5))
    noise = rng.standard_normal(light.size + _NOISE_BANK, dtype=np.float32) * np.float32(rng.uniform(1.0, 4.0))
    starts = rng.integers(0, _NOISE_BANK, len(scene.camera))
    for index, gain in enumerate(flicker):
        left, top = np.rint((scene.camera[index] + margin) * _SUPERSAMPLE).astype(int).tolist()
        width, height = settings.width_px * _SUPERSAMPLE, settings.height_px * _SUPERSAMPLE
        picture = backdrop.crop((left, top, left + width, top + height))
        draw = ImageDraw.Draw(picture)
        companion.paint(draw, scene.companion[index] * _SUPERSAMPLE)
        actor.paint(draw, scene.actor[index] * _SUPERSAMPLE)
        lit = np.asarray(picture.reduce(_SUPERSAMPLE), dtype=np.float32) * (light * np.float32(gain))
        lit += noise[starts[index] : starts[index] + lit.size].reshape(lit.shape)
        yield np.clip(lit, 0, 255, out=lit).astype(np.uint8)


def _light(rng: np.random.Generator, settings: SynthSettings) -> NDArray[np.float32]:
    """Brightness, color cast and a gradient across the picture [h w 3]."""
    y, x = np.mgrid[-0.5 : 0.5 : settings.height_px * 1j, -0.5 : 0.5 : settings.width_px * 1j]
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.4)
    gradient = 1 + slope * (np.cos(angle) * x + np.sin(angle) * y)
    return np.asarray(gradient[..., None] * rng.uniform(0.78, 1.08) * rng.uniform(0.94, 1.06, 3), dtype=np.float32)


def _backdrop(settings: SynthSettings, clip: Clip, scene: Scene) -> tuple[Image.Image, int]:
    """A supersampled picture that is larger than the frame by a margin (in frame pixels) on every side."""
    rng = clip_generator(settings, clip, "backdrop")
    margin = int(np.ceil(np.abs(scene.camera).max())) + 2
    width, height = ((side + 2 * margin) * _SUPERSAMPLE for side in (settings.width_px, settings.height_px))
    top, bottom = (np.array(figure.random_wall(rng)) for _ in range(2))
    ramp = np.linspace(0, 1, height)[:, None, None]
    picture = Image.fromarray(np.broadcast_to(top + (bottom - top) * ramp, (height, width, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    floor = height * rng.uniform(0.62, 0.82)
    draw.rectangle((0, floor, width, height), figure.random_wall(rng))
    for _ in range(int(rng.integers(4, 9))):
        _clutter(draw, rng, width, height)
    _decoys(draw, clip_generator(settings, clip, "decoys"), settings, scene, margin)
    return picture, margin


def _clutter(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int) -> None:
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    w, h = rng.uniform(0.03, 0.16, 2) * height
    color = figure.random_wall(rng)
    kind = rng.integers(4)
    if kind == 0:
        draw.rectangle((x - w, y - h, x + w, y + h), color)
    elif kind == 1:
        draw.ellipse((x - w, y - h, x + w, y + h), color)
    elif kind == 2:
        end = (x + rng.uniform(-3, 3) * w, y + rng.uniform(-3, 3) * h)
        draw.line([(x, y), end], color, max(2, round(height * rng.uniform(0.01, 0.035))))
    else:
        draw.polygon([(x - w, y + h), (x + w, y + h * rng.uniform(-1, 1)), (x + w * rng.uniform(-1, 1), y - h)], color)


def _decoys(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, settings: SynthSettings, scene: Scene, margin: int
) -> None:
    """Three shapes on the wall, across the actor from the companion, as large together as the companion.

    They wear its clothes and hair where an object stands in its place, and wall colors where it is there itself: every
    picture has the colors of a second person, and their shape and place alone tell whether it is one.
    """
    look, unit, height = scene.companion_look, scene.companion_px * _SUPERSAMPLE, settings.height_px * _SUPERSAMPLE
    walls = [figure.random_wall(rng) for _ in _DECOY_AREAS]
    colors = walls if scene.companion_is_person else [look.shirt, look.trousers, look.hair]
    middle = (margin + settings.width_px / 2) * _SUPERSAMPLE
    away = -np.sign((scene.companion + scene.camera[:, None])[:, figure.PELVIS, 0].mean() - settings.width_px / 2)
    for row, which in enumerate(rng.permutation(len(_DECOY_AREAS))):
        x = middle + away * height * rng.uniform(0.26, 0.43)
        y = margin * _SUPERSAMPLE + height * (0.1 + 0.21 * row + rng.uniform(0, 0.06))
        side, aspect = unit * np.sqrt(_DECOY_AREAS[which]) / 2, rng.uniform(0.8, 1.4)
        box = (x - side * aspect, y - side / aspect, x + side * aspect, y + side / aspect)
        if rng.random() < 0.5:
            draw.rectangle(box, colors[which])
        else:
            draw.ellipse(box, colors[which])


class ObjectPainter:
    """Paints a thing with the extent, the sway and about the detail of a standing person: a lamp, a plant, boxes.

    It stands where a second person would, so that neither clutter, motion nor file size tells whether one is present.
    """

    def __init__(self, rng: np.random.Generator, unit: float) -> None:
        self._unit = unit
        self._colors = [figure.random_wall(rng) for _ in range(6)]
        self._widths = rng.uniform([0.06, 0.08, 0.1, 0.1, 0.09], [0.12, 0.13, 0.16, 0.16, 0.13]) * unit
        self._round = rng.random(5) < 0.5

    def paint(self, draw: ImageDraw.ImageDraw, joints: Array) -> None:
        """Paint the thing along the joints [15 2] of a standing figure, in pixels."""
        foot, knee = joints[figure.FOOT :].mean(axis=0), joints[figure.KNEE : figure.FOOT].mean(axis=0)
        stops = [foot, knee, joints[figure.PELVIS], joints[figure.CHEST], joints[figure.HEAD]]
        thickness, edge = max(2, round(self._unit * 0.05)), max(1, round(self._unit * 0.02))
        draw.line([(float(x), float(y)) for x, y in stops], self._colors[0], thickness)
        # Branches that sway like arms: a person's are what costs the codec most.
        for side in (0, 1):
            limb = joints[[figure.SHOULDER + side, figure.ELBOW + side, figure.HAND + side]]
            draw.line([(float(x), float(y)) for x, y in limb], self._colors[1 + side], thickness)
        for (x, y), half, color, rounded in zip(stops, self._widths, self._colors[1:], self._round, strict=True):
            box = (x - half, y - self._unit * 0.085, x + half, y + self._unit * 0.085)
            if rounded:
                draw.ellipse(box, color, figure.shaded(color, 0.6), edge)
            else:
                draw.rectangle(box, color, figure.shaded(color, 0.6), edge)
            draw.line([(x - half * 0.7, y), (x + half * 0.7, y)], self._colors[0], edge)
