from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from errors_help import raises
from numpy.typing import NDArray
from torch import Tensor

import fststyle.perceptual.measure
from fststyle.errors import PhotoError, SettingError
from fststyle.images.load import load_image
from fststyle.perceptual import evaluate
from fststyle.perceptual.evaluate import (
    Evaluation,
    PhotoResult,
    Point,
    equal_iterations,
    markdown,
    summary,
    write_report,
)
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.measure import MEASURE, Losses, measure_for
from fststyle.perceptual.optimize import OptimizeConfig, Step, optimize_image
from fststyle.perceptual.presets import LossConfig
from fststyle.perceptual.similarity import psnr, ssim
from fststyle.perceptual.tensors import to_tensor
from fststyle.perceptual.vgg import VGGWeights

Pixels = NDArray[np.float32]


def smooth(height: int, width: int, shift: float = 0.0) -> Pixels:
    """Something like a photograph."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [
        0.5 + 0.4 * np.sin(7 * x + phase + shift) * np.cos(5 * y - phase) for phase in (0, 0.7, 1.9)
    ]
    return np.stack(waves, axis=2).astype(np.float32)


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def checks() -> Pixels:
    """A style image."""
    return np.kron(noise(12, 12, 3).round(), np.ones((4, 4, 1))).astype(np.float32)


def identity(pixels: Pixels) -> Pixels:
    return pixels.copy()


SHALLOW = LossConfig(
    content_layers={"relu2_2": 1.0},
    style_layers={"relu1_2": 1.0, "relu2_2": 3.0},
    content_weight=1.0,
    style_weight=1.0,
    tv_weight=0.5,
    style_sizes=(0,),
    normalised_layers=(),
)


@pytest.fixture
def measure(narrow_weights: VGGWeights, monkeypatch: pytest.MonkeyPatch) -> PerceptualLoss:
    """A shallow loss of a narrow VGG16 in the place of the fixed measure, to be quick."""
    for module in (evaluate, fststyle.perceptual.measure):
        monkeypatch.setattr(module, "MEASURE", SHALLOW)
    return PerceptualLoss.from_picture(SHALLOW, narrow_weights, checks())


def run(
    measure: PerceptualLoss, stylise: Callable[[Pixels], Pixels] = identity, **options: Any
) -> Evaluation:
    values: dict[str, Any] = {
        "photos": {"photo": smooth(24, 30)}, "iterations": (1, 2, 5, 8), **options
    }  # fmt: skip
    return evaluate.evaluate("mine", stylise, measure, values.pop("photos"), **values)


# Iterations


CURVE = [
    Point(0, 1, 0.0, 10.0),
    Point(1, 2, 1.0, 6.0),
    Point(2, 4, 2.0, 5.0),
    Point(4, 7, 3.0, 1.0),
]


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (11.0, 0.0),
        (10.0, 0.0),
        (9.0, 0.25),
        (6.0, 1.0),
        (5.25, 1.75),
        (5.0, 2.0),
        (2.0, 3.5),
        (1.0, 4.0),
        (0.999, math.inf),
        (math.nan, 0.0),  # a picture that is none is worth nothing
        (math.inf, 0.0),
    ],
)
def test_equal_iterations(total: float, expected: float) -> None:
    assert equal_iterations(CURVE, total) == pytest.approx(expected)


def test_equal_iterations_is_where_a_curve_first_falls_so_low() -> None:
    rises = [Point(0, 1, 0.0, 10.0), Point(1, 2, 0.0, 4.0), Point(2, 3, 0.0, 8.0)]
    assert equal_iterations(rises, 7.0) == pytest.approx(0.5)


# The measure


def test_iterations_of_the_table() -> None:
    assert evaluate.ITERATIONS == (1, 2, 5, 10, 20, 50, 100, 200)


# Evaluations


def test_the_photo_itself_is_worth_nothing(measure: PerceptualLoss) -> None:
    photo = smooth(24, 30)
    evaluation = run(measure)
    (result,) = evaluation.photos
    assert (result.name, result.height, result.width) == ("photo", 24, 30)
    assert result.network == result.photo
    assert result.photo.content == {"relu2_2": 0.0}
    assert result.network_ssim == pytest.approx(1.0)
    assert result.network_psnr == math.inf
    assert (result.equals, evaluation.equals()) == (0.0, (0.0, 0.0))
    assert evaluation.equal_evaluations()[0] == result.curve[0].evaluations
    image = torch.from_numpy(photo.transpose(2, 0, 1))[None]
    targets = measure.content_targets(image)
    with torch.no_grad():
        assert result.photo.total == pytest.approx(float(measure(image, targets).total))
    relative = measure.relative(image, targets)
    assert result.photo.style == pytest.approx({k: float(v) for k, v in relative.style.items()})
    assert result.photo.tv == pytest.approx(float(relative.tv))


def test_losses_add_up(measure: PerceptualLoss) -> None:
    (result,) = run(measure, lambda pixels: np.clip(pixels + 0.1, 0, 1)).photos
    losses = result.network
    style = (losses.style["relu1_2"] + 3 * losses.style["relu2_2"]) / 4
    assert losses.style_term() == pytest.approx(style)
    total = losses.content["relu2_2"] + 4 * style + 0.5 * losses.palette + 0.5 * losses.tv
    assert losses.total == pytest.approx(total, rel=1e-5)


def test_curve_is_the_optimisers(measure: PerceptualLoss) -> None:
    photo = smooth(24, 30)
    evaluation = run(measure)
    (result,) = evaluation.photos
    assert [point.iterations for point in result.curve] == list(range(9))
    assert result.curve[0] == Point(0, result.curve[0].evaluations, 0.0, result.photo.total)
    totals = [point.total for point in result.curve]
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] < 0.9 * totals[0]
    for name in ("evaluations", "seconds"):
        values = [getattr(point, name) for point in result.curve]
        assert values == sorted(values)
        assert values[-1] > values[1] > 0
    assert result.curve[-1].evaluations >= 9
    assert list(result.optimised) == [1, 2, 5, 8]
    for count, losses in result.optimised.items():
        assert losses.total == pytest.approx(result.curve[count].total, rel=1e-5)
    # Photo, network, L-BFGS at about 10 and at the end.
    photo_, network, early, last = evaluation.pictures[0]
    np.testing.assert_array_equal(photo_, photo)
    np.testing.assert_array_equal(network, photo)
    np.testing.assert_array_equal(early, last)
    image = torch.from_numpy(photo.transpose(2, 0, 1).copy())[None]
    config = OptimizeConfig(method="lbfgs", iterations=8, history=100, scale_factor=1.0)
    expected = optimize_image(image, measure, config)[0].numpy().transpose(1, 2, 0)
    np.testing.assert_allclose(last, expected, atol=1e-4)
    assert result.optimised_ssim == pytest.approx(ssim(last, photo))
    assert result.optimised_psnr == pytest.approx(psnr(last, photo))


def test_the_optimisers_own_pictures_are_worth_their_iterations(measure: PerceptualLoss) -> None:
    photo = smooth(24, 30)
    pictures: dict[int, Pixels] = {}

    def keep(step: Step) -> None:
        pictures[step.index] = step.image[0].numpy().transpose(1, 2, 0).copy()

    image = torch.from_numpy(photo.transpose(2, 0, 1).copy())[None]
    optimize_image(image, measure, OptimizeConfig(iterations=8, scale_factor=1.0), on_step=keep)
    for count in (1, 4, 7):
        picture = pictures[count]
        (result,) = run(measure, lambda _: picture).photos  # noqa: B023
        assert result.equals == pytest.approx(count, abs=0.02)
        expected = result.curve[count].evaluations
        assert result.equal_evaluations() == pytest.approx(expected, abs=0.1)
    assert run(measure, lambda _: pictures[8], iterations=(1, 4)).photos[0].equals == math.inf


def test_network_is_timed_without_its_first_run(measure: PerceptualLoss) -> None:
    runs = []

    def slow_at_first(pixels: Pixels) -> Pixels:
        runs.append(pixels)
        time.sleep(0.2 if len(runs) == 1 else 0.002)
        return pixels

    (result,) = run(measure, slow_at_first, iterations=(1,)).photos
    assert len(runs) == 4
    assert 0.002 <= result.network_seconds < 0.2


def test_arguments_are_left_as_they_are(measure: PerceptualLoss) -> None:
    photo = smooth(24, 30)
    run(measure, photos={"photo": photo}, iterations=(1,))
    np.testing.assert_array_equal(photo, smooth(24, 30))


def test_progress_covers_all_photos(measure: PerceptualLoss) -> None:
    shares: list[float] = []
    photos = {"a": smooth(16, 16), "b": smooth(16, 20)}
    run(measure, photos=photos, iterations=(1, 4), on_progress=shares.append)
    assert shares == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0])


def test_there_must_be_a_photo(measure: PerceptualLoss) -> None:
    with raises(SettingError, "no_photos"):
        run(measure, photos={})


def test_photo_that_is_too_small_is_named_first(measure: PerceptualLoss) -> None:
    def never(_: object) -> object:
        raise AssertionError("nothing is to be computed")

    photos = {"good.png": smooth(20, 20), "strip.png": smooth(3, 64)}
    with raises(SettingError, "too_small", "strip.png", "64×3"):
        evaluate.evaluate("style", never, measure, photos)  # type: ignore[arg-type]


def test_lbfgs_goes_furthest_on_the_measure(original_weights: VGGWeights) -> None:
    measure = measure_for(checks(), original_weights)
    photo = smooth(20, 20)
    evaluation = evaluate.evaluate(
        "mine", identity, measure, {"photo": photo}, iterations=(10, 100)
    )
    (result,) = evaluation.photos
    totals: list[float] = []
    adam = OptimizeConfig(method="adam", iterations=100, scale_factor=1.0)
    image = torch.from_numpy(photo.transpose(2, 0, 1).copy())[None]
    optimize_image(image, measure, adam, on_step=lambda s: totals.append(float(s.terms.total)))
    own = result.photo.total
    assert result.optimised[100].total < 0.95 * totals[-1] < 0.95 * 0.8 * own
    assert result.optimised[100].total < 0.95 * result.optimised[10].total < 0.95 * 0.8 * own
    assert evaluation.vgg == "the original VGG16"


# Reports


def result(name: str, equals: float, **values: Any) -> PhotoResult:
    """Made-up figures; L-BFGS takes two evaluations an iteration and one before."""
    style = dict.fromkeys(MEASURE.style_layers, 0.25)
    content = dict.fromkeys(MEASURE.content_layers, 0.5)
    losses = Losses(1.0, content, style, 0.2, 0.01)
    everything: dict[str, Any] = {
        "name": name,
        "height": 20,
        "width": 30,
        "photo": losses,
        "network": losses,
        "network_seconds": 0.02,
        "network_ssim": 0.4,
        "network_psnr": 15.0,
        "curve": [Point(n, 1 + 2 * n, float(n), 8.0 - n) for n in range(5)],
        "optimised": {1: losses, 2: losses, 4: losses},
        "optimised_ssim": 0.3,
        "optimised_psnr": 12.0,
        "equals": equals,
    }
    return PhotoResult(**{**everything, **values})


def evaluation(*results: PhotoResult) -> Evaluation:
    pictures = [[smooth(20, 30)] * 4 for _ in results]
    return Evaluation("mine", "the original VGG16", list(results), (1, 2, 4), pictures)


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a Markdown text, each cell of which is in its place."""
    found: list[list[list[str]]] = []
    previous = ""
    for line in text.splitlines():
        if line.startswith("|"):
            if not previous.startswith("|"):
                found.append([])
            cells = line.replace(r"\|", "¦").removeprefix("| ").removesuffix(" |").split(" | ")
            found[-1].append(cells)
        previous = line
    for table in found:
        assert table[1] == ["---"] * len(table[0])
        assert {len(row) for row in table} == {len(table[0])}
    return found


def strict_json(path: Path) -> Any:
    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_headline_is_of_the_median_and_the_worst() -> None:
    three = evaluation(result("a", 1.0), result("b", 3.0), result("c", 3.5))
    assert three.equals() == (3.0, 1.0)
    assert three.equal_evaluations() == (7.0, 3.0)
    assert three.headline() == "equals 3.0 L-BFGS iterations (median of 3; worst 1.0)"
    two = evaluation(result("a", 1.0), result("b", 3.0))
    assert two.equals() == (2.0, 1.0)


def test_beyond_the_last_iteration() -> None:
    beyond = evaluation(result("a", 2.5), result("b", math.inf), result("c", math.inf))
    assert beyond.headline() == "equals > 4 L-BFGS iterations (median of 3; worst 2.5)"
    text = markdown(beyond)
    assert "equals > 9 (worst 6.0)" in text
    rows = tables(text)[1][2:]
    assert [row[2:4] for row in rows] == [["2.5", "6.0"], ["> 4", "> 9"], ["> 4", "> 9"]]
    assert (
        "> 4 L-BFGS iterations (median of 1; worst > 4)"
        in evaluation(result("b", math.inf)).headline()
    )


def test_markdown() -> None:
    first = result("a", 1.0, network_seconds=0.01, network_ssim=0.2)
    second = result("b", 2.0, network_seconds=0.03, network_ssim=0.6)
    text = markdown(evaluation(first, second))
    losses, photos = tables(text)
    layers = [*MEASURE.style_layers]
    contents = [f"content {layer}" for layer in MEASURE.content_layers]
    assert losses[0] == ["", "total", "style", *layers, *contents, "SSIM", "PSNR"]
    names = ["photograph itself", "**mine**", "L-BFGS 1", "L-BFGS 2", "L-BFGS 4"]
    assert [row[0] for row in losses[2:]] == names
    middle = ["1.000", "0.250", *["0.250"] * len(layers), *["0.500"] * len(contents)]
    assert losses[3][1:] == [*middle, "0.400", "15.0"]
    assert losses[6][1:] == [*middle, "0.300", "12.0"]
    assert [row[-2:] for row in (losses[2], losses[4], losses[5])] == [["", ""]] * 3
    assert photos[2:] == [
        ["a", "30×20", "1.0", "3.0", "10"],
        ["b", "30×20", "2.0", "5.0", "30"],
    ]
    assert "20 ms per photograph. L-BFGS takes 4.0 s for 4 iterations, 200 times" in text


def test_table_with_values_and_names_that_are_odd() -> None:
    odd = result("a|b\nc", 1.0, network_ssim=math.nan, network_psnr=math.inf)
    losses, photos = tables(markdown(evaluation(odd)))
    assert losses[3][-2:] == ["–", "inf"]
    assert photos[2][0] == "a¦b c"


def test_report_is_written(tmp_path: Path) -> None:
    written = write_report(evaluation(result("a", 1.5), result("b", 2.5)), tmp_path)
    assert written == tmp_path / "report.md"
    assert {path.name for path in tmp_path.iterdir()} == {
        *("report.md", "report.json", "report_curve.png", "report_sheet.png")
    }
    text = written.read_text(encoding="utf-8")
    assert text.startswith("# mine: equals 2.0 L-BFGS iterations (median of 2; worst 1.5)\n")
    for name in ("report_curve.png", "report_sheet.png"):
        assert f"]({name})" in text
    # Two rows of four pictures under their titles.
    assert load_image(tmp_path / "report_sheet.png").shape == (20 + 2 * 20 + 4 * 8, 4 * 38 + 8, 3)
    assert load_image(tmp_path / "report_curve.png").shape == (550, 880, 3)
    said = summary(written)
    assert text.startswith(said)
    assert len(tables(said)) == 2
    assert "![" not in said


def test_json(tmp_path: Path) -> None:
    write_report(evaluation(result("a", 1.5), result("b", 2.5)), tmp_path)
    data = strict_json(tmp_path / "report.json")
    assert data["style"] == "mine"
    assert data["equals_lbfgs_iterations"] == {"median": 2.0, "worst": 1.5}
    assert data["equals_lbfgs_evaluations"] == {"median": 5.0, "worst": 4.0}
    assert data["measure"] == json.loads(json.dumps(MEASURE.as_dict()))
    assert [photo["equals"] for photo in data["photos"]] == [1.5, 2.5]
    assert data["photos"][0]["curve"][2] == {
        "iterations": 2, "evaluations": 5, "seconds": 2.0, "total": 6.0
    }  # fmt: skip
    assert list(data["photos"][0]["optimised"]) == ["1", "2", "4"]


def test_json_of_what_is_not_finite(tmp_path: Path) -> None:
    odd = result("a\udcff", math.inf, network_ssim=math.nan, network_psnr=math.inf)
    write_report(evaluation(odd), tmp_path)
    data = strict_json(tmp_path / "report.json")
    assert data["equals_lbfgs_iterations"] == {"median": None, "worst": None}
    assert data["equals_lbfgs_evaluations"] == {"median": None, "worst": None}
    (photo,) = data["photos"]
    assert [photo[name] for name in ("equals", "network_ssim", "network_psnr")] == [None] * 3


def test_report_of_a_real_evaluation(measure: PerceptualLoss, tmp_path: Path) -> None:
    photos: Mapping[str, Pixels] = {"a": smooth(16, 20), "b": smooth(20, 16), "tiny": smooth(8, 8)}
    real = run(measure, photos=photos, iterations=(1, 2))
    written = write_report(real, tmp_path)
    losses, each = tables(written.read_text(encoding="utf-8"))
    assert len(losses) == 2 + 4
    assert [row[0] for row in each[2:]] == ["a", "b", "tiny"]
    data = strict_json(tmp_path / "report.json")
    assert data["photos"][2]["network_ssim"] is None  # too small for the window
    medians = statistics.median(photo["photo"]["total"] for photo in data["photos"])
    assert losses[2][1] == f"{medians:.3f}"


def test_report_that_cannot_be_written(tmp_path: Path) -> None:
    with raises(PhotoError, "cannot_write"):
        write_report(evaluation(result("a", 1.0)), tmp_path / "missing")


def test_tensors_are_whole(measure: PerceptualLoss) -> None:
    # A stylised picture may be a view that torch cannot take as it is.
    def mirrored(pixels: Pixels) -> Pixels:
        return pixels[:, ::-1]

    (flipped,) = run(measure, mirrored, iterations=(1,)).photos
    (copied,) = run(measure, lambda p: mirrored(p).copy(), iterations=(1,)).photos
    assert flipped.network == copied.network
    assert isinstance(to_tensor(mirrored(smooth(4, 4))), Tensor)
