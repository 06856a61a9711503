"""The command line: ``fststyle stylize | optimize | evaluate | styles | info | train``.

Exit status: 0 done, 1 something the user can mend (one sentence says how), 2 wrong usage,
130 ended by Ctrl-C. Results go to the standard output, everything else to standard error.
Stylising with a trained network on the CPU loads no torch: heavy modules are imported where
a command needs them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fststyle import __version__
from fststyle.errors import FststyleError, PhotoError, StyleError
from fststyle.images import (
    Photo,
    check_output,
    fit_long_side,
    load_image,
    load_photo,
    resize,
    save_photo,
    write_atomically,
)
from fststyle.styles import FoundStyle, art_folder, art_info, find_picture, find_style, list_styles

if TYPE_CHECKING:
    from fststyle.optimize import Step

_OPTIMISE_SIZE: Final = 512
"""Long side at which a photo is optimised unless ``--size`` says otherwise, in pixels."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status.

    Args:
        arguments: What follows the program's name; by default the process's own.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options)
    except FststyleError as error:
        print(f"Error: {error}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        sys.stderr.close()
        status = 1
    raise SystemExit(status)


def _stylize(options: argparse.Namespace) -> int:
    check_output(options.output)
    found = find_style(options.style)
    if found.kind == "picture":
        what = (
            f"{found.name} has no trained network yet"
            if found.path.parent == art_folder()
            else f"{options.style} is a picture, not a trained style"
        )
        print(
            f"{what}; optimising this one photo instead (minutes, not milliseconds). "
            f"Train once for all photos: {_training_command(found)}",
            file=sys.stderr,
        )
        return _optimize(_optimise_options(options))
    from fststyle.stylizer import Stylizer

    photo = load_photo(options.photo)
    stylizer = Stylizer(str(found.path), device=options.device, threads=options.threads)
    begin = time.perf_counter()
    result = stylizer.stylize(photo, size=options.size)
    seconds = time.perf_counter() - begin
    save_photo(result.pixels, options.output, alpha=result.alpha)
    height, width = result.pixels.shape[:2]
    print(f"{options.output}  {width}×{height}  {found.name}  {1000 * seconds:.0f} ms")
    return 0


def _training_command(found: FoundStyle) -> str:
    if found.path.parent == art_folder():
        return f"python train.py style={found.name}"
    return f"python train.py style.image={found.path} style.name=NAME"


def _optimise_options(options: argparse.Namespace) -> argparse.Namespace:
    """The options of ``fststyle optimize PHOTO --style PICTURE -o OUT``, defaults else."""
    plain = ["optimize", str(options.photo), "--style", options.style, "-o", str(options.output)]
    parsed = _parser().parse_args(plain)
    parsed.size = options.size
    return parsed


def _optimize(options: argparse.Namespace) -> int:
    check_output(options.output)
    if options.sheet is not None:
        check_output(options.sheet)
        if options.sheet.suffix.lower() != ".png":
            raise PhotoError(f"The sheet is a PNG; name it {options.sheet.with_suffix('.png')}.")
    picture_path = _style_picture(options.style)
    picture = load_image(picture_path)
    photo = load_photo(options.photo)

    from fststyle.losses import PerceptualLoss, loss_config, weights_for
    from fststyle.optimize import optimize_config, optimize_image

    config = loss_config(options.loss, **_given(options, _LOSS_OPTIONS))
    optimisation = optimize_config(options.loss, **_given(options, _OPTIMISER_OPTIONS))
    content = _working_size(photo.pixels, options)
    config, weights = weights_for(config, options.vgg_weights)
    loss = PerceptualLoss.from_picture(config, weights, picture)
    if loss.substitution:
        print(loss.substitution, file=sys.stderr)
    start = _start(options, content)

    recorder = _Recorder(options.output, options.save_every, optimisation.rounds)
    try:
        result = _to_pixels(
            optimize_image(
                _to_tensor(content), loss, optimisation, init=start, on_step=recorder.on_step
            )
        )
        interrupted = False
    except KeyboardInterrupt:
        if recorder.last is None:
            raise
        result = _to_pixels(recorder.last.image)
        interrupted = True
    recorder.close()
    if interrupted and result.shape != content.shape:
        result = resize(result, width=content.shape[1], height=content.shape[0])
    _print_similarity(result, content)
    if options.sheet is not None:
        from fststyle.figures import optimisation_sheet

        figure = optimisation_sheet(content, picture, result, recorder.terms)
        write_atomically(options.sheet, figure)
    _save_result(result, photo, options)
    return 130 if interrupted else 0


def _save_result(result: Any, photo: Photo, options: argparse.Namespace) -> None:
    height, width = photo.pixels.shape[:2]
    scale = max(result.shape[:2]) / max(height, width)
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    if result.shape[:2] != shape:  # a recipe that works on a square
        result = resize(result, width=shape[1], height=shape[0])
    alpha = photo.alpha
    if alpha is not None and alpha.shape != shape:
        alpha = resize(alpha, width=shape[1], height=shape[0])
    save_photo(result, options.output, alpha=alpha)
    print(f"{options.output}  {shape[1]}×{shape[0]}")


def _print_similarity(result: Any, content: Any) -> None:
    from fststyle.evaluate import psnr, ssim

    print(
        f"against the photo: SSIM {ssim(result, content):.4f}, PSNR {psnr(result, content):.2f} dB"
    )


def _working_size(pixels: Any, options: argparse.Namespace) -> Any:
    if options.size is None and options.loss == "keras_vgg16":
        # The recipe works on a square; the result gets the photo's proportions back.
        return resize(pixels, width=_OPTIMISE_SIZE, height=_OPTIMISE_SIZE)
    if options.size == 0:
        return pixels
    return fit_long_side(pixels, options.size or _OPTIMISE_SIZE)


def _start(options: argparse.Namespace, content: Any) -> Any:
    """What ``--init`` says: a word for the optimiser, or an image."""
    if options.init in ("content", "noise"):
        return options.init
    if options.init == "style":
        found = find_style(options.style)
        if found.kind != "network":
            raise StyleError(
                f"--init style needs a trained network, and {options.style} has none yet; "
                f"train it ({_training_command(found)}), or start from the content."
            )
        from fststyle.stylizer import Stylizer

        return _to_tensor(Stylizer(str(found.path), device="cpu")(content))
    start = load_image(options.init)
    if start.shape != content.shape:
        start = resize(start, width=content.shape[1], height=content.shape[0])
    return _to_tensor(start)


def _style_picture(style: str) -> Path:
    """The picture of a style, for optimisation: a picture's path, or an artwork's name."""
    if style.lower().endswith(".onnx"):
        from fststyle.stylefile import read_info

        style = read_info(Path(style)).name
    return find_picture(style)


class _Recorder:
    """Progress of an optimisation: a bar, lines per round, intermediate pictures, the curve."""

    def __init__(self, output: Path, save_every: int | None, rounds: int) -> None:
        from tqdm import tqdm

        self.terms: dict[str, list[float]] = {"content": [], "style": [], "tv": [], "total": []}
        self.last: Step | None = None
        self._output = output
        self._save_every = save_every
        self._rounds = rounds
        self._round = 1
        self._begin = time.perf_counter()
        self._bar = tqdm(unit="it", disable=None, leave=False)
        self._next_line = self._begin + 15

    def on_step(self, step: Step) -> None:
        """Take one iteration in."""
        if step.round != self._round:
            self._tell_round()
            self._round = step.round
        self.last = step
        values = {name: float(value) for name, value in step.terms._asdict().items()}
        values["total"] = sum(values.values())
        for name, value in values.items():
            self.terms[name].append(value)
        text = ", ".join(f"{name} {values[name]:.4g}" for name in ("total", "content", "style"))
        self._bar.total = step.total
        self._bar.n = step.index
        self._bar.set_postfix_str(text)
        now = time.perf_counter()
        if self._bar.disable and now >= self._next_line:
            self._next_line = now + 15
            left = (now - self._begin) * (step.total - step.index) / step.index
            line = f"{step.index}/{step.total}, {left:.0f} s left, {text}"
            print(line, file=sys.stderr, flush=True)
        if self._save_every and step.index % self._save_every == 0:
            path = self._output.with_stem(f"{self._output.stem}_{step.index:05d}")
            save_photo(_to_pixels(step.image), path)

    def close(self) -> None:
        """End the bar, and tell the last round."""
        self._tell_round()
        self._bar.close()

    def _tell_round(self) -> None:
        if self._rounds > 1 and self.last is not None:
            seconds = time.perf_counter() - self._begin
            total = self.terms["total"][-1]
            self._bar.clear()
            print(
                f"round {self._round}/{self._rounds}: loss {total:.6g}, {seconds:.1f} s, "
                f"{self.last.evaluations} evaluations",
                flush=True,
            )


def _evaluate(options: argparse.Namespace) -> int:
    if not options.output.is_dir():
        raise PhotoError(f"There is no folder {options.output}; make it, or name another by -o.")
    found = find_style(options.style)
    if found.kind != "network":
        raise StyleError(
            f"{options.style} has no trained network to evaluate; train it: "
            f"{_training_command(found)}."
        )
    info = _info_of(found)
    picture_path = options.picture or find_picture(info.name)
    picture = load_image(picture_path)
    photos = {path.name: fit_long_side(load_image(path), options.size) for path in options.photos}

    import hashlib

    if info.style_image_sha256 and (
        hashlib.sha256(Path(picture_path).read_bytes()).hexdigest() != info.style_image_sha256
    ):
        print(
            f"Note: {picture_path} is not the very file that {info.name} was trained on.",
            file=sys.stderr,
        )
    from tqdm import tqdm

    from fststyle import evaluate
    from fststyle.stylizer import Stylizer
    from fststyle.vgg import load_weights

    measure = evaluate.measure_for(picture, load_weights("vgg16", options.vgg_weights))
    with tqdm(total=1.0, disable=None, leave=False, bar_format="{l_bar}{bar}| {remaining}") as bar:

        def on_progress(share: float) -> None:
            bar.n = share
            bar.refresh()

        evaluation = evaluate.evaluate(
            info.name,
            Stylizer(str(found.path), device="cpu"),
            measure,
            photos,
            iterations=[n for n in evaluate.ITERATIONS if n < options.iterations]
            + [options.iterations],
            on_progress=on_progress,
        )
    report = evaluate.write_report(evaluation, options.output)
    print(evaluate.summary(report))
    print(f"\nReport  {report}")
    return 0


def _styles(options: argparse.Namespace) -> int:
    for found in list_styles():
        info = _info_of(found)
        facts = [info.title, info.artist, str(info.year or ""), info.licence]
        state = "trained" if found.kind == "network" else "picture only"
        print(f"{found.name:24} {state:13} {', '.join(fact for fact in facts if fact)}")
    return 0


def _info_of(found: FoundStyle) -> Any:
    from fststyle.stylefile import read_info

    return read_info(found.path) if found.kind == "network" else art_info(found.name)


def _info(options: argparse.Namespace) -> int:
    found = find_style(options.style)
    facts: dict[str, Any] = {"path": str(found.path), "kind": found.kind}
    if found.kind == "network":
        from fststyle.stylefile import inspect_style

        network, info = inspect_style(found.path)
        facts |= {"network": dict(network), **json.loads(info.to_json())}
    elif found.path.parent == art_folder():
        facts |= dataclasses.asdict(art_info(found.name))
    print(json.dumps(facts, indent=2, default=str, ensure_ascii=False))
    return 0


def _train(options: argparse.Namespace) -> int:
    # In a process of its own: training needs Hydra's command line to itself.
    command = [sys.executable, "-m", "fststyle.training", *options.settings]
    process = subprocess.Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # Ctrl-C reached the training too, which ends by itself


_LOSS_OPTIONS: Final = {
    "content_weight": "content_weight",
    "style_weight": "style_weight",
    "tv_weight": "tv_weight",
    "content_layers": "content_layers",
    "style_layers": "style_layers",
    "style_sizes": "style_sizes",
}
_OPTIMISER_OPTIONS: Final = {
    "method": "optimizer",
    "iterations": "iterations",
    "rounds": "rounds",
    "learning_rate": "learning_rate",
    "scale_factor": "scale_factor",
    "seed": "seed",
}


def _given(options: argparse.Namespace, names: dict[str, str]) -> dict[str, Any]:
    values = {key: getattr(options, name) for key, name in names.items()}
    return {key: value for key, value in values.items() if value is not None}


def _to_tensor(pixels: Any) -> Any:
    import numpy as np
    import torch

    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]


def _to_pixels(image: Any) -> Any:
    import numpy as np

    return np.ascontiguousarray(image[0].cpu().numpy().transpose(1, 2, 0))


def _layer_weights(text: str) -> dict[str, float]:
    """``relu1_2,relu3_3:2`` → {"relu1_2": 1.0, "relu3_3": 2.0}."""
    layers = {}
    for item in text.split(","):
        name, _, weight = item.partition(":")
        layers[name.strip()] = float(weight) if weight else 1.0
    return layers


def _pixels_or_full(text: str) -> int:
    """A size in pixels from 1, or ``full``, which is 0."""
    size = 0 if text == "full" else int(text)
    if size < 1 and text != "full":
        raise ValueError(text)
    return size


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fststyle", description="Fast neural style: train a style, and give it to photos."
    )
    parser.add_argument("--version", action="version", version=f"fststyle {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    style_help = "a style's name (see `fststyle styles`), a style file, or a picture"

    command = commands.add_parser("stylize", help="give a photo a style")
    command.add_argument("photo", type=Path)
    command.add_argument("--style", required=True, help=style_help)
    command.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    command.add_argument(
        "--size",
        type=_positive,
        help="long side of the result in pixels (never enlarged); default: the photo's own, "
        f"or {_OPTIMISE_SIZE} where the style is a picture and the photo is optimised",
    )
    command.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    command.add_argument("--threads", type=_positive, help="processor threads")
    command.set_defaults(run=_stylize)

    command = commands.add_parser("optimize", help="the classic mode: optimise one photo")
    _add_optimise_options(command)
    command.set_defaults(run=_optimize)

    command = commands.add_parser("evaluate", help="verify a trained style against the optimiser")
    command.add_argument("photos", type=Path, nargs="+", metavar="PHOTO")
    command.add_argument("--style", required=True, help="a trained style's name or file")
    command.add_argument("--picture", type=Path, help="its style picture, where it is not ours")
    command.add_argument("--size", type=_positive, default=256, help="long side in pixels")
    command.add_argument("--iterations", type=_positive, default=200, help="of L-BFGS")
    command.add_argument("-o", "--output", type=Path, default=Path(), help="existing folder")
    command.add_argument("--vgg-weights", metavar="FILE")
    command.set_defaults(run=_evaluate)

    command = commands.add_parser("styles", help="list the styles")
    command.set_defaults(run=_styles)

    command = commands.add_parser("info", help="what a style file says of itself, as JSON")
    command.add_argument("style", help=style_help)
    command.set_defaults(run=_info)

    command = commands.add_parser(
        "train", help="train a style", description="Train a style, as `python train.py` does."
    )
    command.add_argument(
        "settings", nargs="*", metavar="KEY=VALUE", help="such as style=thanos_poster minutes=5"
    )
    command.set_defaults(run=_train)
    return parser


def _add_optimise_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("photo", type=Path)
    command.add_argument("--style", required=True, help="a picture, or the name of an artwork")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    command.add_argument(
        "--size",
        type=_pixels_or_full,
        help=f"long side in pixels, or full; default {_OPTIMISE_SIZE}",
    )
    command.add_argument(
        "--init", default="content", help="content, noise, style (a network's output) or a picture"
    )
    command.add_argument("--optimizer", choices=("lbfgs", "adam"))
    command.add_argument("--iterations", type=_positive, help="in a round, at each scale")
    command.add_argument("--rounds", type=_positive)
    command.add_argument("--learning-rate", type=float)
    command.add_argument(
        "--scale-factor",
        type=float,
        help=f"coarse to fine by this factor (1: one scale); default 2 above {_OPTIMISE_SIZE} px",
    )
    command.add_argument("--seed", type=int, help="of the noise to start from")
    command.add_argument("--save-every", type=_positive, metavar="N", help="pictures on the way")
    command.add_argument("--sheet", type=Path, help="original, style, result and loss curve")
    loss = command.add_argument_group("loss (a preset, and values that replace its own)")
    loss.add_argument("--loss", default="calibrated", metavar="PRESET")
    loss.add_argument("--content-weight", type=float)
    loss.add_argument("--style-weight", type=float)
    loss.add_argument("--tv-weight", type=float)
    loss.add_argument("--content-layers", type=_layer_weights, metavar="LAYER[:WEIGHT],…")
    loss.add_argument("--style-layers", type=_layer_weights, metavar="LAYER[:WEIGHT],…")
    loss.add_argument(
        "--style-sizes",
        type=lambda text: tuple(int(item) for item in text.split(",")),
        metavar="PIXELS,…",
        help="short sides at which the style picture is seen; 0 for its own",
    )
    loss.add_argument("--vgg-weights", metavar="FILE")


if __name__ == "__main__":
    main()
