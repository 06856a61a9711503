"""The report of a training run, and the facts about training for its style file."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import FststyleError
from fststyle.files import shell_word, write_atomically
from fststyle.markdown import markdown_table
from fststyle.perceptual import evaluate
from fststyle.perceptual.figures import Curve, loss_figure
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.measure import MEASURE, measure_for
from fststyle.perceptual.vgg import VGGWeights
from fststyle.stylize.stylizer import Stylizer
from fststyle.training.data import PhotoDataModule
from fststyle.training.gates import Gate
from fststyle.training.module import StyleModule

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFacts:
    """Facts about a run that the report shows in addition to its quality.

    Attributes:
        folder: Folder of the run, with ``sheet.png`` and, if there is a log, ``csv/``.
        style: Name or path of the style for the command line.
        steps: Number of steps.
        seconds: Duration of the training in seconds.
        settings: All settings of the run, as JSON values.
        gates: Results of the gates, if they were checked.
        notes: Sentences from `run_notes`.
    """

    folder: Path
    style: str
    steps: int
    seconds: float
    settings: Mapping[str, Any]
    gates: Sequence[Gate]
    notes: Sequence[str]


def write_report(
    name: str,
    stylizer: Stylizer,
    loss: PerceptualLoss,
    weights: VGGWeights,
    style_image: NDArray[np.float32],
    data: PhotoDataModule,
    facts: RunFacts,
) -> Path | None:
    """Measure a style file on three held-out photographs, and write the report.

    Args:
        name: Name of the style.
        stylizer: Stylizer of the style file.
        loss: Loss that the network was trained with.
        weights: Weights of VGG.
        style_image: Style image, ``(h, w, 3)``, RGB in [0, 1].
        data: Data module with the photographs.
        facts: Other facts about the run.

    Returns:
        The path of ``report.md``, or None if it cannot be written; a warning then says why.
    """
    log.info("Comparing with L-BFGS on three held-out photos (report=false skips this)")
    crops = [crop.numpy().transpose(1, 2, 0) for crop in data.held_out_crops(3)]
    photos: dict[str, NDArray[np.float32]] = {}
    for path, crop in zip(data.held_out, crops, strict=False):
        photos[path.name if path.stem in photos else path.stem] = crop
    try:
        same = loss.config == MEASURE
        measure = loss if same else measure_for(style_image, weights)
        evaluation = evaluate.evaluate(
            name, stylizer, measure.cpu(), photos, iterations=(1, 2, 5, 10, 20, 50)
        )
        report = evaluate.write_report(evaluation, facts.folder)
        text = report.read_text(encoding="utf-8") + about_the_run(facts)
        write_atomically(report, text.encode("utf-8", "backslashreplace"))
        return report
    except FststyleError as error:  # the style file exists anyway
        log.warning("Cannot write the report: %s", error)
        return None


def gate_values(gates: Sequence[Gate]) -> dict[str, float | None]:
    """Return gate → value for a style file; values that are not finite are None."""
    return {
        gate.name: round(gate.value, 3) if math.isfinite(gate.value) else None for gate in gates
    }


def about_the_run(facts: RunFacts) -> str:
    """Write the second part of the report: samples, gates, times, settings, commands, notes."""
    per_step = 1000 * facts.seconds / max(1, facts.steps)
    lines = ["", "## Samples", "", "![held-out photos and results](sheet.png)"]
    if facts.gates:
        lines += ["", "## Checks for faults", "", gates_table(facts.gates)]
        lines += [f"\n{gate.sentence}" for gate in facts.gates if not gate.passed]
    lines += ["", "## Training", ""]
    lines.append(
        f"{facts.steps} steps in {facts.seconds / 60:.1f} minutes, {per_step:.0f} ms per step."
    )
    curves = training_curves(facts.folder)
    if curves:
        figure = loss_figure(curves, "losses while training", "step")
        write_atomically(facts.folder / "report_training.png", figure)
        lines += ["", "![losses while training](report_training.png)"]
    settings = json.dumps(facts.settings, indent=2, ensure_ascii=False)
    style = shell_word(facts.style)
    lines += ["", "```json", settings, "```", "", "## Use it", "", "```bash"]
    lines.append(f"fststyle stylize photo.jpg --style {style} -o out.jpg")
    lines += [f"fststyle evaluate --style {style} photo.jpg", "```", ""]
    if facts.notes:
        lines += ["", "## What happened in training", ""]
        # Paths may contain characters with a meaning in Markdown.
        plain = (re.sub(r"([\\`*_<>\[\]|#])", r"\\\1", " ".join(n.split())) for n in facts.notes)
        lines += [*(f"- {note}" for note in plain), ""]
    return "\n".join(lines)


def gates_table(gates: Sequence[Gate]) -> str:
    """Return the gates as a Markdown table."""
    header = ("gate", "value", "limit", "passed", "worst on", "at strength")
    rows = []
    for g in gates:
        passed = "yes" if g.passed else "**no**" if g.blocks else "no (warning)"
        numbers = (f"{g.value:.3f}", f"{g.limit:g}")
        rows.append((g.name, *numbers, passed, g.probe, f"{g.strength:g}"))
    return markdown_table(header, rows)


def training_curves(folder: Path) -> list[Curve]:
    """Read the loss curves from a run's ``csv/``, with the parts of a resumed run joined.

    Args:
        folder: Folder of the run.

    Returns:
        A curve for each loss that was logged.
    """
    wanted = {
        "train/total": "training photo, total",
        "train/style": "training photo, style",
        "train/content": "training photo, content",
        "val/total": "held-out photos, total",
    }
    points: dict[str, dict[int, float]] = {key: {} for key in wanted}
    paths = folder.glob("csv/from_step_*/metrics.csv")
    for path in sorted(paths, key=lambda path: int(path.parent.name.rpartition("_")[2])):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for key in wanted:
                    if row.get(key):
                        points[key][int(row["step"]) + 1] = float(row[key])
    return [
        Curve(label, sorted(points[key]), [points[key][step] for step in sorted(points[key])])
        for key, label in wanted.items()
        if points[key]
    ]


def training_facts(
    module: StyleModule,
    data: PhotoDataModule,
    weights: VGGWeights,
    style_image: NDArray[np.float32],
) -> dict[str, Any]:
    """Collect the facts about training for the style file, as JSON values."""
    facts = {
        "steps": module.steps_made,
        "photos": len(data.trained_on),
        "size": data.size,
        "batch_size": data.batch_size,
        "rollbacks": module.guard.rollbacks,
        "loss": module.loss.config.as_dict(),
        "vgg": {"architecture": weights.architecture, "original": weights.original},
        "style_picture_size": [style_image.shape[1], style_image.shape[0]],
    }
    if module.steady.weight:
        facts["steady"] = dataclasses.asdict(module.steady)
    if module.schedule.minutes is not None:  # without it, the seed and steps determine the file
        facts["minutes"] = round(module.seconds() / 60, 2)
    losses = held_out(module)
    return {**facts, "held_out": losses} if losses else facts


def held_out(module: StyleModule) -> dict[str, float]:
    """Return the held-out losses after the last step, if they were measured then."""
    if module.held_out_at != module.steps_made:
        return {}
    return {name: round(value, 5) for name, value in module.held_out.items()}


def counted(number: int, name: str) -> str:
    """Return a number and a noun in the singular or plural: "1 file", "2 files"."""
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def run_notes(skipped: Mapping[str, str], rollbacks: int, pace: float) -> list[str]:
    """Describe skipped files and failed steps for the log and the report.

    Args:
        skipped: Path of each skipped file → sentence with its name and the reason.
        rollbacks: Number of failed steps, after which training returned to earlier weights.
        pace: Factor on the learning rate at the end of the run.

    Returns:
        Sentences, sorted by file. The list is empty if nothing happened.
    """
    notes = [f"Skipped: {reason}" for _, reason in sorted(skipped.items())]
    if notes:
        were, they = ("was", "it") if len(notes) == 1 else ("were", "they")
        notes.append(f"{counted(len(notes), 'file')} {were} skipped; {they} could not be read.")
    if rollbacks:
        notes.append(
            f"{counted(rollbacks, 'step')} failed; training returned to the last good weights. "
            f"The final learning rate was {pace:.3g} times the planned one."
        )
    return notes
