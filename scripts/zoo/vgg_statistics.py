"""Measure VGG16's activations over natural photographs, for the calibrated loss.

    python scripts/zoo/vgg_statistics.py PHOTOS

The script writes fststyle/vgg16_statistics.safetensors, which contains the mean activation and the
mean squared activation of each channel in each ReLU layer, over 256×256 centre crops.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from fststyle.errors import PhotoError
from fststyle.images.folder import find_photos
from fststyle.images.load import load_image
from fststyle.images.resize import fit_short_side
from fststyle.perceptual.layers import layer_names
from fststyle.perceptual.vgg import VGG16Features
from fststyle.perceptual.vgg_weights import load_weights

OUTPUT = Path(__file__).parents[2] / "fststyle" / "perceptual" / "vgg16_statistics.safetensors"


@torch.no_grad()
def main() -> None:
    """Measure the activations and write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="folder with photographs")
    parser.add_argument("--count", type=int, default=400, help="maximum number of photographs")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()

    vgg = VGG16Features(layer_names(), load_weights())
    sums: dict[str, torch.Tensor] = {}
    used = 0
    paths = find_photos(arguments.photos)
    for path in paths[:: -(-len(paths) // arguments.count)]:
        try:
            pixels = fit_short_side(load_image(path), 256)
        except PhotoError as error:
            print(error)
            continue
        top, left = (pixels.shape[0] - 256) // 2, (pixels.shape[1] - 256) // 2
        if min(top, left) < 0:
            continue
        crop = np.ascontiguousarray(pixels[top : top + 256, left : left + 256].transpose(2, 0, 1))
        for layer, activations in vgg(torch.from_numpy(crop)[None]).items():
            for name, values in (("mean", activations), ("square", activations.square())):
                moment = values.double().mean(dim=(0, 2, 3))
                key = f"{layer}.{name}"
                sums[key] = sums[key] + moment if key in sums else moment
        used += 1
    moments = {name: (total / used).float() for name, total in sums.items()}
    safetensors.torch.save_file(moments, arguments.output, {"photographs": str(used)})
    print(f"{arguments.output}: {used} photographs")
    for layer in layer_names():
        mean = moments[f"{layer}.mean"]
        print(
            f"{layer}: mean {mean.mean():.3g}, median {mean.median():.3g}, "
            f"least {mean.min():.3g}, most {mean.max():.3g}"
        )


if __name__ == "__main__":
    main()
