"""Finding faces with YuNet, and maps that make a style gentle on them.

The network is YuNet (Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine
Intelligence Research 2023), which is included with fststyle (MIT licence).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fststyle.images.photo import Pixels
from fststyle.images.resize import fitted_size
from fststyle.openvino_core import openvino_core
from fststyle.stylize.strokes import resized

GENTLE: Final = 0.35
"""Strength on faces, as a share of the strength elsewhere."""

_SIDE: Final = 640
"""Long side, in pixels, of the image in which faces are searched, as in the training of YuNet."""
_LEAST_SCORE: Final = 0.7
_MOST_OVERLAP: Final = 0.3
_STRIDES: Final = (8, 16, 32)
_MODEL: Final = Path(__file__).with_name("yunet.onnx")


class Face(NamedTuple):
    """A face, from the forehead to the chin. All values are shares of the photo's sides.

    Attributes:
        x: Centre, from the left.
        y: Centre, from the top.
        width: Width of the face.
        height: Height of the face.
    """

    x: float
    y: float
    width: float
    height: float


def find_faces(pixels: Pixels) -> list[Face]:
    """Find the faces in a photo. Neither a download nor an optional package is needed.

    Args:
        pixels: Photo ``(H, W, 3)``, uint8 or float32 in [0, 1].

    Returns:
        The faces, the most certain one first.

    Example:
        >>> find_faces(np.zeros((48, 64, 3), np.uint8))
        []
    """
    height, width = fitted_size(pixels.shape[0], pixels.shape[1], _SIDE)
    small = resized(pixels, height, width).astype(np.float32)
    if pixels.dtype != np.uint8:
        small *= 255
    # YuNet takes BGR images, whose sides are multiples of its largest stride.
    down, across = (-side % _STRIDES[-1] for side in (height, width))
    padded = np.pad(small[..., ::-1], ((0, down), (0, across), (0, 0)))
    batch = np.ascontiguousarray(padded.transpose(2, 0, 1)[np.newaxis])
    # Each call has its own request, because several threads may search at the same time.
    results = _network().create_infer_request().infer({"input": batch})
    scores, boxes = zip(
        *(_decoded(results, stride, padded.shape[1] // stride) for stride in _STRIDES), strict=True
    )
    found = _distinct(np.concatenate(scores), np.concatenate(boxes))
    return [Face(x / width, y / height, w / width, h / height) for x, y, w, h in found.tolist()]


def gentle_map(faces: Sequence[Face], height: int, width: int) -> NDArray[np.float32]:
    """Return a map that is `GENTLE` on faces and 1 elsewhere, with soft edges.

    Args:
        faces: The faces.
        height: Height of the map in pixels.
        width: Width of the map in pixels.

    Returns:
        Factors for the strength, ``(height, width)``.

    Example:
        >>> gentle_map([Face(0.5, 0.5, 0.2, 0.2)], 101, 101)[50, [0, 50]].tolist()
        [1.0, 0.3499999940395355]
    """
    result = np.ones((height, width), np.float32)
    rows = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height
    columns = (np.arange(width, dtype=np.float32) + 0.5) / width
    for face in faces:
        # The ellipse also contains the hairline and the ears. Its edge is soft.
        across = (columns - face.x) / face.width
        down = (rows - (face.y - 0.05 * face.height)) / face.height
        distance = np.hypot(across / 0.6, down / 0.7)
        share = np.clip((distance - 0.85) / 0.75, 0, 1)
        share = share * share * (3 - 2 * share)  # smooth at both ends
        np.minimum(result, GENTLE + (1 - GENTLE) * share, out=result)
    return result


@cache
def _network() -> Any:
    core = openvino_core()
    model = core.read_model(_MODEL)
    model.reshape([1, 3, -1, -1])
    # With bfloat16, scores near the limit would depend on the processor.
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def _decoded(results: Any, stride: int, columns: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the scores ``(N,)`` and boxes ``(N, 4)`` (x, y, width, height) at one stride."""
    class_score, object_score, box = (
        results[f"{name}_{stride}"][0] for name in ("cls", "obj", "bbox")
    )
    scores = np.sqrt(np.clip(class_score, 0, 1) * np.clip(object_score, 0, 1))[:, 0]
    chosen = np.flatnonzero(scores >= _LEAST_SCORE)
    box = box[chosen]
    cells = np.stack((chosen % columns, chosen // columns), axis=1)
    return scores[chosen], stride * np.hstack((cells + box[:, :2], np.exp(box[:, 2:])))


def _distinct(scores: NDArray[Any], boxes: NDArray[Any]) -> NDArray[Any]:
    """Return the boxes that do not overlap with a better one, in the order of their scores."""
    boxes = boxes[np.argsort(-scores, kind="stable")]
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    area = boxes[:, 2] * boxes[:, 3]
    kept: list[int] = []
    for number in range(len(boxes)):
        shared = np.minimum(high[kept], high[number]) - np.maximum(low[kept], low[number])
        common = np.clip(shared, 0, None).prod(axis=1)
        if (common <= _MOST_OVERLAP * (area[kept] + area[number] - common)).all():
            kept.append(number)
    return boxes[kept]
