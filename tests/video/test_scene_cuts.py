from __future__ import annotations

import numpy as np
from video_help import scene, with_shape

from fststyle.video.scene_cuts import histograms_of, is_cut


def test_cuts_are_found_and_pans_are_not() -> None:
    scenes = [scene(seed) for seed in range(6)]
    for index, one in enumerate(scenes):
        for other in scenes[:index]:
            assert is_cut(histograms_of(one), histograms_of(other))
        wide = scene(index, width=100)
        assert not is_cut(histograms_of(wide[:, :80]), histograms_of(wide[:, 8:88]))
        darker = (0.95 * one).astype(np.uint8)
        assert not is_cut(histograms_of(one), histograms_of(darker))
        assert not is_cut(histograms_of(one), histograms_of(with_shape(one)))
    assert histograms_of(scenes[0][:1, :1]).shape == (9, 3, 8)
