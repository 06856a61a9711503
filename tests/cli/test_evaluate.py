from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_help import Run, assert_refused, files_in, smooth

from fststyle.images.save import save_photo
from fststyle.perceptual import vgg_weights
from fststyle.perceptual.vgg import VGGWeights

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def original(original_weights: VGGWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vgg_weights, "load_weights", lambda *_: original_weights)


@pytest.mark.usefixtures("original")
def test_evaluate(run: Run, style_image: Path, style_path: Path, folder: Path) -> None:
    for name in ("a", "b"):
        Path(name).mkdir()
        save_photo(smooth(20, 26 if name == "a" else 24), f"{name}/photo.png")
    Path("report").mkdir()
    done = run(
        *(
            "evaluate",
            "a/photo.png",
            "b/photo.png",
            "--style",
            style_path,
            "--picture",
            style_image,
        ),
        *("--size", "24", "--iterations", "3", "-o", "report"),
    )
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("# small: equals ")
    assert done.out.endswith("\nReport  report/report.md\n")
    names = {"report.md", "report.json", "report_curve.png", "report_sheet.png"}
    assert {path.name for path in Path("report").iterdir()} == names
    report = json.loads(Path("report/report.json").read_text())
    # Two photos of the same file name are two photos, and no larger than asked for.
    assert [result["name"] for result in report["photos"]] == ["a/photo.png", "b/photo.png"]
    assert [result["width"] for result in report["photos"]] == [24, 24]
    assert [len(result["curve"]) for result in report["photos"]] == [4, 4]
    assert list(report["photos"][0]["optimised"]) == ["1", "2", "3"]


def test_evaluate_without_what_it_needs(
    run: Run, photo: Path, style_image: Path, style_path: Path, folder: Path
) -> None:
    before = files_in(folder)
    assert_refused(
        run("evaluate", photo, "--style", style_path, "-o", "missing"),
        "The folder missing does not exist",
    )
    assert_refused(run("evaluate", photo, "--style", style_path), "--picture IMAGE")
    assert_refused(
        run("evaluate", photo, "--style", style_path, "--picture", "no.png"),
        "no.png does not exist",
    )
    for style in ("thanos_poster", "picture.png"):
        done = run("evaluate", photo, "--style", style)
        assert_refused(done, "No network has been trained")
    with_picture = ["--style", style_path, "--picture", style_image]
    assert_refused(run("evaluate", photo, photo, *with_picture), "given twice")
    assert_refused(run("evaluate", photo, *with_picture, "--vgg-weights", "no.onnx"), "no.onnx")
    assert files_in(folder) == before
