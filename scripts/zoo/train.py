"""Train every style that has a configuration, and add the good networks to the zoo.

    python scripts/zoo/train.py --paintings IMAGES --photos PHOTOS [--minutes 30] [--ship]

Each style is trained with ``python train.py style=… data=folder …``, as a user would train it, and
then measured with ``scripts/zoo/measure.py``. FOLDER/NAME contains the training run, and
FOLDER/NAME/measured the measurements, each with a log. ``--ship`` then runs
``scripts/zoo/collect.py``.

To continue after an interruption, run the same command again. Styles that have already been
measured are skipped, and interrupted training runs are resumed. To train a style from scratch,
remove FOLDER/NAME first. On Ctrl-C (or SIGTERM), the current training run is saved before the
script stops. Press Ctrl-C twice to stop without saving.

Exit status: 0 if all styles were trained and passed, 1 if some were not, 2 for wrong usage, 130
after Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from omegaconf import OmegaConf

from fststyle.errors import FststyleError
from fststyle.styles.find import find_picture

ROOT: Final = Path(__file__).resolve().parents[2]
CONFIGS: Final = ROOT / "configs" / "style"
TRAIN = [sys.executable, str(ROOT / "train.py")]
MEASURE = [sys.executable, str(ROOT / "scripts" / "zoo" / "measure.py")]
COLLECT = [sys.executable, str(ROOT / "scripts" / "zoo" / "collect.py")]

MAX_MINUTES: Final = 45
INTERRUPTED: Final = 130

_FIXED_SETTINGS: Final = (
    "style", "data", "minutes", "resume", "output_dir", "paintings", "install",
)  # fmt: skip

State = Literal["passed", "rejected", "failed", "interrupted"]


@dataclass(frozen=True)
class Style:
    """A style that has a configuration.

    Attributes:
        name: Name of the style. Its configuration, file and folder have the same name.
        choice: Value of ``style=`` for ``train.py``.
        image: Path of the style image.
    """

    name: str
    choice: str
    image: Path


@dataclass(frozen=True)
class Outcome:
    """The result of training one style.

    Attributes:
        name: Name of the style.
        state: ``rejected`` means that the style was trained but failed an end-of-training check.
        text: Human-readable description.
        minutes: Duration in minutes.
    """

    name: str
    state: State
    text: str
    minutes: float = 0.0


@dataclass(frozen=True)
class Zoo:
    """Settings for all training runs.

    Attributes:
        folder: Folder that contains one folder for each style.
        photos: Folder with photographs to train on.
        paintings: Folder with the public-domain style images.
        minutes: Training time for each style.
        jobs: Number of simultaneous training runs. If there are two, each uses one thread.
        extra: Additional settings for every training run.
        iterations: Number of L-BFGS iterations to compare the networks with.
    """

    folder: Path
    photos: Path
    paintings: Path
    minutes: float
    jobs: int = 1
    extra: tuple[str, ...] = ()
    iterations: int = 50

    def command(self, style: Style) -> list[str]:
        """Return the command that starts or resumes training a style."""
        settings = [
            f"style={style.choice}",
            "data=folder",
            setting("data.root", self.photos),
            setting("paintings", self.paintings),
            f"minutes={self.minutes:g}",
            "resume=auto",
            setting("output_dir", self.folder / style.name),
            "install=false",
            "steady.start=0",  # best for video, and there is enough time
        ]
        return [*TRAIN, *settings, *self.extra]


class Processes:
    """The processes that train and measure. The output of each is written to a log file."""

    def __init__(self, one_thread: bool) -> None:
        self.stopping = False
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if one_thread:
            self._environment["OMP_NUM_THREADS"] = "1"
        self._children: list[subprocess.Popen[bytes]] = []
        self._lock = threading.RLock()  # a second signal can interrupt the handler

    def run(self, command: Sequence[str], log: Path) -> int:
        """Run a command until it ends, and return its exit status."""
        with log.open("ab") as output:
            with self._lock:
                if self.stopping:
                    return INTERRUPTED
                # Use a separate session, so that signals come from `stop`, not from the terminal.
                child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                    env=self._environment, start_new_session=True,
                )  # fmt: skip
                self._children.append(child)
            try:
                return child.wait()
            finally:
                with self._lock:
                    self._children.remove(child)

    def stop(self, *_: object) -> None:
        """Handle a signal: let all processes save and end. A second signal skips saving."""
        _say("Saving the current training run. Press Ctrl-C again to stop without saving.")
        with self._lock:
            self.stopping = True
            for child in self._children:
                child.terminate()


def find_styles(paintings: Path, configs: Path = CONFIGS) -> tuple[list[Style], dict[str, str]]:
    """Find the styles that have a configuration, and their images.

    Args:
        paintings: Folder with the public-domain style images.
        configs: Folder with the configurations.

    Returns:
        The styles for which an image exists, with fststyle's own artworks first. For all other
        styles, the reason why they cannot be trained, by name.
    """
    found, missing = [], {}
    for path in [*sorted(configs.glob("*.yaml")), *sorted(configs.glob("painting/*.yaml"))]:
        style = OmegaConf.merge({"paintings": str(paintings)}, OmegaConf.load(path)).style
        choice = path.relative_to(configs).with_suffix("").as_posix()
        try:
            found.append(Style(path.stem, choice, find_picture(style.image).resolve()))
        except FststyleError as error:
            missing[path.stem] = f"its style image is missing: {error}"
    return found, missing


def setting(key: str, value: Path) -> str:
    """Quote ``key=value`` for Hydra, regardless of which characters the path contains."""
    # Inside quotes, a backslash is literal unless it precedes a quote.
    escaped = re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), str(value))
    return f"{key}='{escaped}'"


def make(zoo: Zoo, style: Style, processes: Processes) -> Outcome | None:
    """Train, measure and describe a style, skipping steps that are already done.

    Returns:
        The outcome, or ``None`` if a signal prevented the style from being started.
    """
    folder = zoo.folder / style.name
    file = folder / f"{style.name}.onnx"
    if found := measured(folder):
        return Outcome(style.name, found[0], f"already done; {found[1]}")
    if processes.stopping:
        return None
    begin = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    if not is_trained(folder):
        _say(f"{style.name}: training")
        log = folder / "training.log"
        status = processes.run(zoo.command(style), log)
        # The status is also 1 if the run finished but the network failed a check.
        if not is_trained(folder):
            if processes.stopping or status == INTERRUPTED:
                return Outcome(style.name, "interrupted", "interrupted; run the same command again")
            text = f"training failed with status {status} ({log}): {_last_line(log)}"
            return Outcome(style.name, "failed", text)
    log = folder / "measuring.log"
    options = ["--picture", str(style.image), "-o", str(folder / "measured")]
    command = [*MEASURE, str(file), *options, "--iterations", str(zoo.iterations)]
    status = processes.run(command, log)
    if status != 0 and processes.stopping:
        return Outcome(style.name, "interrupted", "trained, but not measured yet")
    found = measured(folder)
    if status != 0 or found is None:
        text = f"measuring failed with status {status} ({log}): {_last_line(log)}"
        return Outcome(style.name, "failed", text)
    return Outcome(style.name, *found, minutes=(time.monotonic() - begin) / 60)


def train_all(zoo: Zoo, styles: Sequence[Style], processes: Processes) -> list[Outcome]:
    """Train styles, `Zoo.jobs` at a time, and print each outcome and the remaining time.

    Returns:
        The outcomes of all styles that were started.
    """
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(zoo.jobs) as pool:
        futures = [pool.submit(make, zoo, style, processes) for style in styles]
        for future in as_completed(futures):
            outcome = future.result()
            if outcome is None:
                continue
            outcomes.append(outcome)
            took = f" ({outcome.minutes:.0f} min)" if outcome.minutes else ""
            _say(f"[{len(outcomes)}/{len(styles)}] {outcome.name}: {outcome.text}{took}")
            left = len(styles) - len(outcomes)
            trained = [outcome.minutes for outcome in outcomes if outcome.minutes]
            if left and trained and not processes.stopping:
                _say(
                    f"    {left} to go, {_eta(60 * sum(trained) / len(trained) * left / zoo.jobs)}"
                )
    return outcomes


def is_trained(folder: Path) -> bool:
    """Return whether the training run of a style has finished."""
    is_finished = (_read_json(folder / "run.json") or {}).get("status") == "finished"
    return is_finished and (folder / f"{folder.name}.onnx").is_file()


def measured(folder: Path) -> tuple[State, str] | None:
    """Return whether a style passed and its quality, or ``None`` if it has not been measured."""
    record = _read_json(folder / "measured" / "quality.json")
    file = folder / f"{folder.name}.onnx"
    if record is None or not file.is_file():
        return None
    if record["sha256"] != hashlib.sha256(file.read_bytes()).hexdigest():
        return None
    failed = record["failed_checks"]
    state: State = "rejected" if failed else "passed"
    return state, f"{record['summary']}; {state}{': ' if failed else ''}{', '.join(failed)}"


def _eta(seconds: float) -> str:
    end = datetime.datetime.now() + datetime.timedelta(seconds=seconds)
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes:02d} min, until {end:%a %H:%M}"


def _say(line: str) -> None:
    print(line, flush=True)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--paintings", type=Path, required=True, metavar="FOLDER", help="public-domain images")
    add("--photos", type=Path, required=True, metavar="FOLDER", help="photographs to train on")
    add("--styles", nargs="+", metavar="NAME", help="train only these styles")
    add("--minutes", type=float, default=30, help="training time for each style in minutes (30)")
    add("-o", "--output", type=Path, default=Path("zoo_runs"), metavar="FOLDER")
    add("--jobs", type=int, choices=(1, 2), default=1, help="simultaneous runs (1)")
    add("--iterations", type=int, default=50, help="L-BFGS iterations to compare with")
    add("--extra", nargs="+", default=[], metavar="KEY=VALUE", help="more settings")
    add("--ship", action="store_true", help="afterwards, copy the networks that passed to the zoo")
    given = parser.parse_args(arguments)
    for folder in (given.paintings, given.photos):
        if not folder.is_dir():
            parser.error(f"cannot find the folder {folder}")
    if not 0 < given.minutes <= MAX_MINUTES:
        parser.error(f"--minutes must be greater than 0 and at most {MAX_MINUTES}")
    if given.iterations < 1:
        parser.error("--iterations must be at least 1")
    for item in given.extra:
        key = item.partition("=")[0].lstrip("+~")
        if "=" not in item or key in (*_FIXED_SETTINGS, "data.root") or key.startswith("style."):
            parser.error(
                f"--extra takes KEY=VALUE, except for settings that this script controls: {item}"
            )
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and measure the styles, copy them if requested, and return the exit status."""
    given = _parse(arguments)
    paintings, folder = given.paintings.resolve(), given.output.resolve()
    styles, missing = find_styles(paintings)
    if given.styles:
        names = {Path(name).name for name in given.styles}
        known = {style.name for style in styles} | set(missing)
        if unknown := sorted(names - known):
            listed = ", ".join(sorted(known))
            print(f"Error: Unknown style {unknown[0]}. Choose from {listed}.", file=sys.stderr)
            return 2
        styles = [style for style in styles if style.name in names]
        missing = {name: why for name, why in missing.items() if name in names}
    extra, photos = tuple(given.extra), given.photos.resolve()
    zoo = Zoo(folder, photos, paintings, given.minutes, given.jobs, extra, given.iterations)
    left = [style for style in styles if not measured(folder / style.name)]
    time_left = _eta(60 * len(left) * (given.minutes + 5) / given.jobs)
    _say(f"{len(styles)} styles, {len(left)} to train for {given.minutes:g} minutes: {time_left}")

    processes = Processes(one_thread=given.jobs > 1)
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, processes.stop) for number in signals}
    try:
        outcomes = train_all(zoo, styles, processes)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    outcomes += [Outcome(name, "failed", why) for name, why in missing.items()]
    bad = [outcome for outcome in outcomes if outcome.state in ("failed", "rejected")]
    for outcome in bad:
        _say(f"{outcome.state}  {outcome.name}: {outcome.text}")
    if processes.stopping:
        _say(f"Interrupted; {len(styles) + len(missing) - len(outcomes)} styles were not started.")
        return INTERRUPTED
    status = 1 if bad else 0
    if given.ship:
        status = max(status, subprocess.run([*COLLECT, str(folder)]).returncode)
    return status


if __name__ == "__main__":
    sys.exit(main())
