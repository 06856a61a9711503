from __future__ import annotations

import threading
import warnings

from PIL import Image, ImageFile

from fststyle.images.limits import MAX_PIXELS, pillow_limits


def test_threads_share_the_limits_and_the_last_one_puts_pillows_back() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.MAXBLOCK, list(warnings.filters))
    inside, left = threading.Barrier(2, timeout=30), threading.Event()

    def first() -> None:
        with pillow_limits(max_block=10**7):
            inside.wait()
        left.set()

    thread = threading.Thread(target=first)
    thread.start()
    with pillow_limits(max_block=10**6):
        inside.wait()  # both at once
        assert left.wait(30)
        assert (Image.MAX_IMAGE_PIXELS, ImageFile.MAXBLOCK) == (MAX_PIXELS, 10**7)
        warnings.warn("muted", stacklevel=1)
    thread.join()
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.MAXBLOCK, list(warnings.filters)) == before
