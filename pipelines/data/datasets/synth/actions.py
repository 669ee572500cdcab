"""Two disjoint sets of actions as joint-angle trajectories of a two-dimensional figure seen from the front.

Angles are in degrees from straight down, positive towards the right of the picture; lengths are in body heights.
Sides are ordered (left, right) as in the picture. Foreshortening is a factor on a limb's length.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
OUTWARD = np.array([-1.0, 1.0])
# (upper arm, forearm), outward: hanging, on the hip, half raised, raised, sideways. Arms that do not act rest in one of
# these, so that no single frame of a raised arm tells the action; mostly they hang.
_REST_ARMS = np.array([[12.0, 6.0], [48.0, -42.0], [95.0, 165.0], [128.0, 168.0], [70.0, 88.0]])
_REST_SHARES = (0.52, 0.12, 0.12, 0.12, 0.12)


@dataclass(frozen=True)
class Tempo:
    """How one performance of an action is played.

    Args:
        phase: radians [t], growing by 2 pi a cycle
        seconds: time of each frame [t], 0 in mid-clip
        amplitude: about 1
        side: 0 or 1, the side that acts in one-sided actions
        speed: walking speed in body heights per second
        rest_arms: outward angles [2 2] (side, segment) of arms that do not act
        tremor: degrees [t 2 4], idle motion of upper arms, forearms, thighs, shins
    """

    phase: Array
    seconds: Array
    amplitude: float
    side: int
    speed: float
    rest_arms: Array
    tremor: Array


@dataclass(frozen=True)
class Pose:
    """Joint angles over time: [t 2] for limbs and leg lengths, [t] for the trunk."""

    upper_arm: Array
    forearm: Array
    thigh: Array
    shin: Array
    arm_length: Array
    thigh_length: Array
    shift: Array
    lift: Array
    lean: Array
    trunk_length: Array


Action = Callable[[Pose, Tempo], None]


def draw_tempo(rng: np.random.Generator, frames: int, fps: float) -> Tempo:
    """Random tempo, extent, side and rest pose. Cycles take .7 to 1.4 s, and no fewer than 13 frames."""
    seconds = np.asarray((np.arange(frames) - (frames - 1) / 2) / fps, dtype=np.float64)
    # Between constant seconds and constant frames: a fixed frame stride then shows a cycle at every frame rate.
    period = rng.uniform(0.75, 1.15) * np.sqrt(22.0 / fps)
    phase = 2 * np.pi * seconds / period + rng.uniform(0, 2 * np.pi)
    phase = phase + rng.uniform(0, 0.35) * np.sin(phase + rng.uniform(0, 2 * np.pi))
    waves = np.sin(2 * np.pi * rng.uniform(0.3, 1.2, (2, 4)) * seconds[:, None, None] + rng.uniform(0, 6.3, (2, 4)))
    return Tempo(
        phase=phase,
        seconds=seconds,
        amplitude=float(rng.uniform(0.8, 1.2)),
        side=int(rng.integers(2)),
        speed=float(rng.uniform(0.42, 0.6) / period),
        rest_arms=_REST_ARMS[rng.choice(len(_REST_ARMS), size=2, p=_REST_SHARES)] + rng.normal(0, 5, (2, 2)),
        tremor=waves * rng.uniform(1.0, 3.0),
    )


def perform(action: Action, tempo: Tempo) -> Pose:
    """The pose over time of one action, or of `idle`."""
    frames = len(tempo.phase)
    pose = Pose(
        upper_arm=np.tile(OUTWARD * tempo.rest_arms[:, 0], (frames, 1)),
        forearm=np.tile(OUTWARD * tempo.rest_arms[:, 1], (frames, 1)),
        thigh=np.tile(OUTWARD * 7.0, (frames, 1)),
        shin=np.tile(OUTWARD * 3.0, (frames, 1)),
        arm_length=np.ones((frames, 2)),
        thigh_length=np.ones((frames, 2)),
        shift=np.zeros(frames),
        lift=np.zeros(frames),
        lean=np.zeros(frames),
        trunk_length=np.ones(frames),
    )
    action(pose, tempo)
    for part, limb in enumerate((pose.upper_arm, pose.forearm, pose.thigh, pose.shin)):
        limb += tempo.tremor[:, :, part]
    return pose


def idle(pose: Pose, _tempo: Tempo) -> None:
    """Stand with hanging arms: only the tremor moves."""
    pose.upper_arm[:], pose.forearm[:] = OUTWARD * 12, OUTWARD * 6


def _up_down(tempo: Tempo, sharpness: float = 1.0) -> Array:
    return np.asarray(tempo.amplitude * (0.5 - 0.5 * np.cos(tempo.phase)) ** sharpness)


def _alternate(tempo: Tempo) -> Array:
    return np.asarray(np.sin(tempo.phase[:, None] + np.array([0.0, np.pi])) * tempo.amplitude)


def _wave(pose: Pose, tempo: Tempo) -> None:
    out, side = OUTWARD[tempo.side], tempo.side
    pose.upper_arm[:, side] = out * 118
    pose.forearm[:, side] = out * (162 + 34 * tempo.amplitude * np.sin(tempo.phase))


def _clap(pose: Pose, tempo: Tempo) -> None:
    opening = _up_down(tempo)[:, None]
    pose.upper_arm[:] = OUTWARD * (24 + 46 * opening)
    pose.forearm[:] = OUTWARD * (-108 + 150 * opening)


def _flex(pose: Pose, depth: Array) -> None:
    pose.thigh[:] = OUTWARD * (7 + 56 * depth[:, None])
    pose.shin[:] = OUTWARD * (3 - 34 * depth[:, None])


def _jump(pose: Pose, tempo: Tempo) -> None:
    rise = np.sin(tempo.phase)
    _flex(pose, 0.2 * tempo.amplitude * np.maximum(-rise, 0))
    pose.lift[:] = 0.2 * tempo.amplitude * np.maximum(rise, 0)


def _squat(pose: Pose, tempo: Tempo) -> None:
    _flex(pose, _up_down(tempo))


def _walk(direction: float) -> Action:
    def walk(pose: Pose, tempo: Tempo) -> None:
        swing = _alternate(tempo)
        forward = np.maximum(np.cos(tempo.phase[:, None] + np.array([0.0, np.pi])), 0) * tempo.amplitude
        pose.thigh[:] = direction * (5 + 24 * swing + 8 * forward)
        pose.shin[:] = pose.thigh - direction * (6 + 44 * forward)
        pose.upper_arm[:] = -direction * 26 * swing
        pose.forearm[:] = pose.upper_arm + direction * 22
        pose.shift[:] = direction * tempo.speed * tempo.seconds

    return walk


def _kick(pose: Pose, tempo: Tempo) -> None:
    out, side = OUTWARD[tempo.side], tempo.side
    pose.thigh[:, side] = out * (7 + 62 * _up_down(tempo, 1.4))
    pose.shin[:, side] = pose.thigh[:, side] - out * 45 * np.maximum(np.sin(tempo.phase), 0) * tempo.amplitude
    pose.lean[:] = -out * 7 * _up_down(tempo)


def _punch(pose: Pose, tempo: Tempo) -> None:
    out, side, reach = OUTWARD[tempo.side], tempo.side, np.minimum(_up_down(tempo, 2.0), 1.0)
    pose.upper_arm[:, side] = out * (38 + 48 * reach)
    pose.forearm[:, side] = out * (168 - 80 * reach)
    pose.lean[:] = out * 4 * reach


def _arm_circle(pose: Pose, tempo: Tempo) -> None:
    pose.upper_arm[:] = OUTWARD * (90 + 46 * tempo.amplitude * np.sin(tempo.phase)[:, None])
    pose.forearm[:] = pose.upper_arm
    pose.arm_length[:] = (0.74 + 0.26 * tempo.amplitude * np.cos(tempo.phase))[:, None]


def _bow(pose: Pose, tempo: Tempo) -> None:
    pose.trunk_length[:] = 1 - 0.5 * _up_down(tempo)


def _climb(pose: Pose, tempo: Tempo) -> None:
    reach = _alternate(tempo)
    pose.upper_arm[:] = OUTWARD * (108 + 46 * reach)
    pose.forearm[:] = OUTWARD * (170 + 12 * reach)
    pose.thigh_length[:] = 1 - 0.35 * np.maximum(reach, 0)


def _drum(pose: Pose, tempo: Tempo) -> None:
    beat = _alternate(tempo)
    pose.upper_arm[:] = OUTWARD * (34 + 10 * beat)
    pose.forearm[:] = OUTWARD * (72 + 60 * beat)


def _jumping_jack(pose: Pose, tempo: Tempo) -> None:
    opening = _up_down(tempo)[:, None]
    pose.upper_arm[:] = OUTWARD * (18 + 112 * opening)
    pose.forearm[:] = OUTWARD * (14 + 130 * opening)
    pose.thigh[:] = OUTWARD * (3 + 20 * opening)
    pose.shin[:] = pose.thigh
    pose.lift[:] = 0.04 * np.abs(np.sin(tempo.phase))


def _march(pose: Pose, tempo: Tempo) -> None:
    raised = np.maximum(_alternate(tempo), 0)
    pose.thigh[:] = OUTWARD * (7 + 38 * raised)
    pose.shin[:] = OUTWARD * (3 - 12 * raised)
    pose.thigh_length[:] = 1 - 0.45 * raised
    # Each arm swings with the other side's leg.
    pose.upper_arm[:] = OUTWARD * (14 + 22 * raised[:, ::-1])
    pose.forearm[:] = OUTWARD * (8 - 70 * raised[:, ::-1])


def _side_bend(pose: Pose, tempo: Tempo) -> None:
    pose.lean[:] = 20 * tempo.amplitude * np.sin(tempo.phase)


def _throw(pose: Pose, tempo: Tempo) -> None:
    out, side, swing = OUTWARD[tempo.side], tempo.side, _up_down(tempo, 1.6)
    pose.upper_arm[:, side] = out * (142 - 88 * swing)
    pose.forearm[:, side] = out * (205 - 165 * swing)
    pose.lean[:] = out * 6 * (swing - 0.5)


ACTION_SETS: dict[str, dict[str, Action]] = {
    "a": {
        "wave": _wave,
        "clap": _clap,
        "jump": _jump,
        "squat": _squat,
        "walk_left": _walk(-1.0),
        "walk_right": _walk(1.0),
        "kick": _kick,
        "punch": _punch,
    },
    "b": {
        "arm_circle": _arm_circle,
        "bow": _bow,
        "climb": _climb,
        "drum": _drum,
        "jumping_jack": _jumping_jack,
        "march": _march,
        "side_bend": _side_bend,
        "throw": _throw,
    },
}
