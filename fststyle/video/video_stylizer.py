"""`VideoStylizer`: stylising the frames of a video in order, with little flicker.

Three techniques reduce flicker. First, the network was trained to produce steady results
(`fststyle.training.steady`). Second, the statistics of its instance normalisation layers are
smoothed over time, so that an object that enters the picture does not change the rest of the frame
("pumping"). Third, the previous result is moved along with the video and mixed into the next one
(`fststyle.video.flow`). Smoothing and mixing start again at each cut.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import SettingError, check_number
from fststyle.runtime.runner import Device
from fststyle.styles.info import StyleInfo
from fststyle.stylize.control import Control
from fststyle.stylize.stylizer import Style, Stylizer, load_parts
from fststyle.video.flow import FlowBlend
from fststyle.video.frames import load_frame_runtime
from fststyle.video.scene_cuts import Histograms, histograms_of, is_cut

STEADY: Final = 0.6
"""Default amount of the previous result that is mixed in, from 0 to 1."""

SMOOTHING: Final = 0.5
"""Default time, in seconds, over which the statistics are smoothed."""


class VideoStylizer:
    """A style or blend that stylises the frames of a video, passed to it in order.

    Args:
        style: Style or blend, as in `fststyle.Stylizer`.
        steady: Amount of the previous result that is mixed in, from 0 to 1, as in
            `fststyle.video.flow.FlowBlend`.
        smoothing: Time constant, in seconds, for smoothing the statistics: after this time, the
            weight of old statistics has fallen to 1/e. At 0, each frame is stylised with its own
            statistics, like a photo.
        device: Device, as in `fststyle.Stylizer`.
        threads: Number of CPU threads. OpenVINO decides by default.

    Attributes:
        cuts: Number of cuts detected so far.

    Raises:
        StyleError: A style is unknown, has no trained network, or its file cannot be used.
        SettingError: ``steady`` or ``smoothing`` is out of range, or ``steady`` is greater than 0
            and OpenCV is missing.

    Example:
        >>> import numpy as np
        >>> stylizer = VideoStylizer("thanos_poster", steady=0, device="cpu")
        >>> frames = np.zeros((3, 48, 64, 3), np.uint8)
        >>> [stylizer.frame(frame, n / 25).shape for n, frame in enumerate(frames)]
        [(48, 64, 3), (48, 64, 3), (48, 64, 3)]
    """

    def __init__(
        self,
        style: Style,
        *,
        steady: float = STEADY,
        smoothing: float = SMOOTHING,
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        check_number("smoothing", smoothing)
        if math.isinf(smoothing):
            raise SettingError("smoothing must be a finite number of seconds, not infinity.")
        self._blend = FlowBlend(steady)
        parts = load_parts(style, partial(load_frame_runtime, device=device, threads=threads))
        self._runtimes = [runtime for runtime, _ in parts]
        self._stylizer = Stylizer.of(parts, painter=self._blend)
        self._smoothing = smoothing
        self._last: tuple[float, Histograms] | None = None
        self.cuts = 0

    @property
    def styles(self) -> list[tuple[StyleInfo, float]]:
        """The styles of the blend and their weights, which add up to 1."""
        return self._stylizer.styles

    def frame(
        self, pixels: NDArray[np.uint8], seconds: float, control: Control | None = None
    ) -> NDArray[np.uint8]:
        """Stylise the next frame.

        Args:
            pixels: Frame ``(H, W, 3)``.
            seconds: Time at which the frame is shown, in seconds.
            control: Controls, in which ``tile`` and ``faces`` must be ``None``, and ``subject`` and
                ``background`` must be 1. By default the full style is applied.

        Returns:
            The stylised frame, of the same shape.

        Raises:
            SettingError: ``control`` has a setting that is only for photos (code ``photos_only``).
            FststyleError: The frame does not fit into memory.
        """
        control = control or Control()
        if control.faces is not None or control.has_subject:
            raise SettingError(
                "Faces and subjects are only found in photos.",
                remedy="Set a strength map, which is used for all frames.",
                code="photos_only",
            )
        histograms = histograms_of(pixels)
        keep = 0.0
        if self._last is not None:
            passed = max(0.0, seconds - self._last[0])
            if is_cut(self._last[1], histograms):
                self.cuts += 1
                self._blend.reset()
            elif self._smoothing > 0:
                keep = math.exp(-passed / self._smoothing)
        self._last = (seconds, histograms)
        for runtime in self._runtimes:
            runtime.keep = keep
        return self._stylizer.pixels(pixels, control)

    def restart(self) -> None:
        """Prepare for another video, so that its first frame does not depend on this one."""
        self._last = None
        self._blend.reset()
