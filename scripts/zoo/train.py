"""Train every style that has a config, one after another, and put the good ones into the zoo.

    python scripts/zoo/train.py --paintings PICTURES --photos PHOTOS [--minutes 30] [--ship]
    python scripts/zoo/train.py --collect zoo_runs

Every network is made by ``python train.py style=… data=folder …``, the recipe that everybody has,
then measured by ``scripts/zoo/measure.py``. FOLDER/NAME holds the run with its log, and
``card.json`` and ``card.md``, which say what the network is and how good.

Whatever ended it, the same command goes on with it: a style that has its card is skipped, one
that was cut off is resumed; to train a style anew, remove FOLDER/NAME. Ctrl-C (or SIGTERM) lets
the training at hand save first; a second one does not wait.

``--collect`` (or ``--ship``, after the last training) copies the networks that passed the
training's own checks into fststyle/zoo, with what was measured in each file.

Exit status: 0 every style is trained and passed, 1 some are not, 2 wrong usage, 130 ended by
Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, Literal

from omegaconf import OmegaConf

from fststyle.errors import FststyleError
from fststyle.files import write_atomically
from fststyle.styles.find import find_picture, zoo_folder
from fststyle.styles.info import StyleInfo
from fststyle.styles.quality import Quality, recorded, with_quality
from fststyle.styles.style_file import inspect_style, read_info, save_info

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs" / "style"
TRAIN = [sys.executable, str(ROOT / "train.py")]
MEASURE = [sys.executable, str(ROOT / "scripts" / "zoo" / "measure.py")]

MOST_MINUTES: Final = 45
"""Longest training of a style."""
MOST_FILE_BYTES: Final = 10**6
"""Largest file in the zoo."""
MOST_ZOO_BYTES: Final = 12 * 10**6
"""Largest zoo."""
INTERRUPTED: Final = 130
"""Exit status of a training that Ctrl-C ended, and ours."""

_OURS: Final = ("style", "data", "minutes", "resume", "output_dir", "paintings", "install")

State = Literal["passed", "rejected", "failed", "interrupted"]


@dataclass(frozen=True)
class Style:
    """A style that has a config.

    Attributes:
        name: Names its file and its folder; the config's file name.
        choice: What ``style=`` takes.
        picture: Where its picture is.
    """

    name: str
    choice: str
    picture: Path


@dataclass(frozen=True)
class Outcome:
    """How a style came out.

    Attributes:
        name: Of the style.
        state: ``rejected``: trained, but did not pass the training's own checks.
        text: For people.
    """

    name: str
    state: State
    text: str


def find_styles(paintings: Path, configs: Path = CONFIGS) -> tuple[list[Style], dict[str, str]]:
    """Find the styles that have a config, and their pictures.

    Args:
        paintings: The folder of the public-domain pictures.
        configs: The folder of the configs.

    Returns:
        The styles whose picture is there, our own first; and why not, by name, for the others.
    """
    found, missing = [], {}
    for path in [*sorted(configs.glob("*.yaml")), *sorted(configs.glob("painting/*.yaml"))]:
        style = OmegaConf.merge({"paintings": str(paintings)}, OmegaConf.load(path)).style
        choice = path.relative_to(configs).with_suffix("").as_posix()
        try:
            picture = find_picture(style.image)
        except FststyleError as error:
            missing[path.stem] = f"its picture is missing: {error}"
            continue
        found.append(Style(path.stem, choice, picture.resolve()))
    return found, missing


def setting(key: str, value: object) -> str:
    """``key=value`` as Hydra reads it, whatever signs a path holds."""
    # Between quotes a backslash means itself, but before a quote.
    escaped = re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), str(value))
    return f"{key}='{escaped}'" if isinstance(value, Path) else f"{key}={value}"


@dataclass
class Zoo:
    """The trainings of a folder, and the processes that make them.

    Attributes:
        folder: Holds a folder for each style.
        photos: The photographs to train on.
        paintings: The folder of the public-domain pictures.
        minutes: Of training for each style.
        jobs: Trainings at a time; with two, each has one thread.
        extra: Further settings of every training.
        iterations: Of L-BFGS, which the networks are measured against.
    """

    folder: Path
    photos: Path
    paintings: Path
    minutes: float
    jobs: int = 1
    extra: tuple[str, ...] = ()
    iterations: int = 50

    def __post_init__(self) -> None:
        self.stopping = threading.Event()
        self.again = threading.Event()
        self._children: dict[subprocess.Popen[bytes], Path | None] = {}
        self._lock = threading.Lock()

    def command(self, style: Style) -> list[str]:
        """The command that trains a style, or goes on with its training."""
        settings = [
            f"style={style.choice}",
            "data=folder",
            setting("data.root", self.photos),
            setting("paintings", self.paintings),
            f"minutes={self.minutes:g}",
            "resume=auto",
            setting("output_dir", self.folder / style.name),
            "install=false",
            "steady.start=0",  # for film, as many minutes are at hand
        ]
        return [*TRAIN, *settings, *self.extra]

    def make(self, style: Style) -> Outcome:
        """Train a style and measure it, as far as that is not done.

        Returns:
            How it came out; the style's folder holds its card then, unless it failed.
        """
        folder = self.folder / style.name
        if known := finished(folder):
            return Outcome(style.name, known["state"], f"done before; {known['line']}")
        folder.mkdir(parents=True, exist_ok=True)
        begin = time.monotonic()
        verdict = _read_json(folder / "verdict.json")
        file = folder / f"{style.name}.onnx"
        if verdict is None or verdict.get("sha256") != _sha256(file):
            if _is_finished(folder):  # of a training whose outcome is not known
                (folder / "run.json").unlink()
            log = folder / "training.log"
            status, reason = self._run(self.command(style), log, folder / "run.json")
            if status == INTERRUPTED or (self.stopping.is_set() and status != 0):
                return Outcome(style.name, "interrupted", "interrupted; the same command goes on")
            # What did not pass the training's checks is a finished run with a style file.
            if status != 0 and not (_is_finished(folder) and file.is_file()):
                return Outcome(style.name, "failed", f"failed (status {status}): {reason}")
            verdict = {"sha256": _sha256(file), "passed": status == 0}
            if status != 0:
                verdict["reason"] = reason
            _write_json(folder / "verdict.json", verdict)
        if self.stopping.is_set():
            return Outcome(style.name, "interrupted", "trained, not measured yet")
        log = folder / "measuring.log"
        status, reason = self._run(self._measuring(style, file), log, None)
        if self.stopping.is_set() and status != 0:
            return Outcome(style.name, "interrupted", "trained, not measured yet")
        if status != 0:
            return Outcome(style.name, "failed", f"could not be measured: {reason}")
        made = write_card(folder, file, verdict)
        taken = (time.monotonic() - begin) / 60
        return Outcome(style.name, made["state"], f"{made['line']} ({taken:.0f} min)")

    def _measuring(self, style: Style, file: Path) -> list[str]:
        options = ["--picture", str(style.picture), "-o", str(file.parent / "measured")]
        return [*MEASURE, str(file), *options, "--iterations", str(self.iterations)]

    def _run(self, command: list[str], log: Path, run_file: Path | None) -> tuple[int, str]:
        """Run a process to its end, its output added to a log; its status and last words."""
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if self.jobs > 1:
            environment["OMP_NUM_THREADS"] = "1"
        with log.open("ab") as output:
            begin = output.tell()
            with self._lock:
                if self.stopping.is_set():
                    return INTERRUPTED, ""
                # In a session of its own, so that Ctrl-C reaches it once, through us.
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                )
                self._children[child] = run_file
            try:
                status = child.wait()
            finally:
                with self._lock:
                    del self._children[child]
        return status, _last_words(log.read_bytes()[begin:].decode("utf-8", "replace"))

    def stop(self) -> None:
        """Let the processes end: a training saves; asked again, it does not wait."""
        self._set()
        with self._lock:
            for child, run_file in self._children.items():
                # A training that is over only has its checks to do, and would lose them.
                is_over = run_file is not None and _is_finished(run_file.parent)
                if child.poll() is None and (self.again.is_set() or not is_over):
                    child.send_signal(signal.SIGTERM)

    def _set(self) -> None:
        if self.stopping.is_set():
            self.again.set()
        self.stopping.set()


def finished(folder: Path) -> dict[str, Any] | None:
    """The card of a style, if it is that of the style file beside it."""
    card = _read_json(folder / "card.json")
    if card is None or card.get("sha256") != _sha256(folder / f"{folder.name}.onnx"):
        return None
    return card


def write_card(folder: Path, file: Path, verdict: dict[str, Any]) -> dict[str, Any]:
    """Say of a style file what it is and how good, as JSON and as Markdown.

    Args:
        folder: Of the run; holds ``measured/quality.json``.
        file: The style file.
        verdict: Whether the training's own checks passed, and why not.

    Returns:
        What ``card.json`` holds.
    """
    network, info = inspect_style(file)
    measured = _read_json(folder / "measured" / "quality.json") or {}
    qualities = [Quality(**values) for values in measured["quality"]]
    state: State = "passed" if verdict["passed"] else "rejected"
    line = ", ".join(
        f"{'equals ' if n == 0 else ''}{q.equals_text()}{' L-BFGS iterations' if n == 0 else ''} "
        f"at {q.size}²"
        for n, q in enumerate(qualities)
    )
    line += f"; {qualities[0].style_left():.0%} of the photos' style loss left"
    line += f"; {file.stat().st_size / 1000:.0f} kB; {state}"
    if state == "rejected":
        line += f": {verdict['reason']}"
    training = {k: v for k, v in info.training.items() if k != "quality"}
    card = {
        **{k: v for k, v in asdict(info).items() if k != "training"},
        "state": state,
        "reason": verdict.get("reason", ""),
        "gates": info.training.get("gates"),
        "line": line,
        "file": file.name,
        "bytes": file.stat().st_size,
        "sha256": _sha256(file),
        "network": dict(network),
        "training": training,
        "measured_on": measured.get("photos", []),
        "quality": measured["quality"],
        "sheet": "sheet.png",
    }
    write_atomically(folder / "card.md", _card_text(card, info, qualities).encode())
    _write_json(folder / "card.json", card)  # last: it says that all is done
    return card


def _card_text(card: dict[str, Any], info: StyleInfo, qualities: list[Quality]) -> str:
    training = info.training
    shape = ", ".join(f"{key} {value}" for key, value in card["network"].items())
    time_taken = f", {training['minutes']:g} minutes" if "minutes" in training else ""
    passed = "passed" if card["state"] == "passed" else f"not passed: {card['reason']}"
    facts = {
        "artist, year": ", ".join(str(x) for x in (info.artist, info.year) if x),
        "source of the picture": info.source,
        "licence": info.licence,
        "SHA-256 of the picture": info.style_image_sha256,
        "network": f"{shape}; {card['bytes'] / 1000:.0f} kB",
        "training": f"{training.get('steps', '?')} steps{time_taken}, on "
        f"{training.get('photos', '?')} photographs",
        "the training's own checks": passed,
        "measured on": f"{', '.join(card['measured_on'])}, squares from the middle",
    }
    rows = [f"| {key} | {_cell(value)} |" for key, value in facts.items()]
    header = ("size", "equals L-BFGS iterations", "worst", "style", "content", "total")
    table = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    for q in qualities:
        cells = (
            f"{q.size}²",
            q.equals_text(),
            q.worst_text(),
            f"{q.style:.3f} (photo {q.photo_style:.3f})",
            f"{q.content:.3f} (photo 0)",
            f"{q.total:.3f} (photo {q.photo_total:.3f})",
        )
        table.append(f"| {' | '.join(cells)} |")
    lines = [f"# {info.title or info.name}", "", "| | |", "| --- | --- |", *rows, "", *table, ""]
    note = "Relative losses under the fixed measure, medians over the photographs."
    return "\n".join([*lines, note, "", "![samples](sheet.png)", ""])


def collect(folder: Path, zoo: Path | None = None) -> list[Outcome]:
    """Copy the finished networks that passed into the zoo, with what was measured in them.

    Args:
        folder: Of the trainings.
        zoo: Where to; by default the package's.

    Returns:
        ``passed``: it is in the zoo now; any other state: why not.

    Raises:
        FststyleError: The zoo would become too large, and nothing was copied; a file cannot be
            read or written.
    """
    zoo = zoo_folder() if zoo is None else zoo
    outcomes, chosen = [], {}
    for path in sorted(folder.glob("*/card.json")):
        name, card = path.parent.name, finished(path.parent)
        file = path.parent / f"{name}.onnx"
        if card is None:
            outcomes.append(Outcome(name, "failed", "its card is of another file; train again"))
        elif card["state"] != "passed":
            outcomes.append(Outcome(name, card["state"], f"not for the zoo: {card['line']}"))
        elif file.stat().st_size > MOST_FILE_BYTES:
            size = f"{file.stat().st_size / 1e6:.1f} MB"
            text = f"{size} are more than the zoo's {MOST_FILE_BYTES / 1e6:g} MB a file"
            outcomes.append(Outcome(name, "failed", text))
        else:
            info = with_quality(read_info(file), [Quality(**q) for q in card["quality"]])
            lacking = [k for k in ("title", "source", "licence") if not getattr(info, k)]
            if lacking or info.name != name or recorded(info) == []:
                what = ", ".join(lacking) or "its own name or quality"
                outcomes.append(Outcome(name, "failed", f"the file does not say {what}"))
                continue
            chosen[name] = (file, info)
    others = [path for path in zoo.glob("*.onnx") if path.stem not in chosen]
    total = sum(path.stat().st_size for path in [*others, *(file for file, _ in chosen.values())])
    if total > MOST_ZOO_BYTES:
        raise FststyleError(
            f"The zoo would take {total / 1e6:.1f} MB, more than {MOST_ZOO_BYTES / 1e6:g}; leave "
            "styles out, or train smaller networks. Nothing was copied."
        )
    zoo.mkdir(exist_ok=True)
    for name, (file, info) in chosen.items():
        save_info(file, info, zoo / f"{name}.onnx")
        outcomes.append(Outcome(name, "passed", f"{zoo / name}.onnx"))
    return sorted(outcomes, key=lambda outcome: outcome.name)


def train_all(zoo: Zoo, styles: Sequence[Style]) -> list[Outcome]:
    """Train styles, `Zoo.jobs` at a time, and tell how each came out and how long it will take.

    Returns:
        The outcomes; a style that was not begun has none.
    """
    waiting: queue.SimpleQueue[Style] = queue.SimpleQueue()
    for style in styles:
        waiting.put(style)
    outcomes: list[Outcome] = []
    taken: list[float] = []
    lock = threading.Lock()
    bugs: list[BaseException] = []

    def work() -> None:
        while not zoo.stopping.is_set():
            try:
                style = waiting.get_nowait()
            except queue.Empty:
                return
            begin = time.monotonic()
            if not finished(zoo.folder / style.name):
                _say(f"[{len(outcomes) + 1}/{len(styles)}] {style.name}: training")
            try:
                outcome = zoo.make(style)
            except (FststyleError, OSError) as error:
                outcome = Outcome(style.name, "failed", str(error))
            except BaseException as error:
                bugs.append(error)
                zoo.stop()
                return
            with lock:
                outcomes.append(outcome)
                if outcome.state != "interrupted" and not outcome.text.startswith("done before"):
                    taken.append(time.monotonic() - begin)
                _say(f"[{len(outcomes)}/{len(styles)}] {style.name}: {outcome.text}")
                rest = len(styles) - len(outcomes)
                if rest and taken and not zoo.stopping.is_set():
                    _say(f"    {rest} to go, {_eta(sum(taken) / len(taken) * rest / zoo.jobs)}")

    threads = [threading.Thread(target=work) for _ in range(zoo.jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():  # a plain join would hold signals back on some systems
            thread.join(0.2)
    if bugs:
        raise bugs[0]
    return outcomes


def _eta(seconds: float) -> str:
    end = datetime.datetime.now() + datetime.timedelta(seconds=seconds)
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes:02d} min, until {end:%a %H:%M}"


def _say(line: str) -> None:
    print(line, flush=True)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _write_json(path: Path, values: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(values, indent=2, ensure_ascii=False).encode())


def _is_finished(folder: Path) -> bool:
    return (_read_json(folder / "run.json") or {}).get("status") == "finished"


def _last_words(log: str) -> str:
    """The last error that a log tells, else its last line."""
    lines = [line.strip() for line in log.splitlines()]
    lines = [line for line in lines if line]
    errors = [line for line in lines if line.startswith("Error: ")]
    return (errors or lines or ["it said nothing"])[-1].removeprefix("Error: ")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paintings", type=Path, help="folder of the public-domain pictures")
    parser.add_argument("--photos", type=Path, help="folder of photographs to train on")
    parser.add_argument("--styles", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--minutes", type=float, default=30, help="of training for each style")
    parser.add_argument("-o", "--output", type=Path, default=Path("zoo_runs"), metavar="FOLDER")
    parser.add_argument("--jobs", type=int, choices=(1, 2), default=1, help="at a time")
    parser.add_argument("--iterations", type=int, default=50, help="of L-BFGS, for measuring")
    parser.add_argument("--extra", nargs="+", default=[], metavar="KEY=VALUE", help="for train.py")
    parser.add_argument("--ship", action="store_true", help="then copy what passed into the zoo")
    parser.add_argument("--collect", type=Path, metavar="FOLDER", help="only copy, from there")
    given = parser.parse_args(arguments)
    if given.collect is not None:
        return given
    if given.paintings is None or given.photos is None:
        parser.error("give --paintings and --photos, or --collect")
    for folder in (given.paintings, given.photos):
        if not folder.is_dir():
            parser.error(f"there is no folder {folder}")
    if not 0 < given.minutes <= MOST_MINUTES:
        parser.error(f"--minutes must be above 0 and at most {MOST_MINUTES} for each style")
    if given.iterations < 1:
        parser.error("--iterations must be at least 1")
    for item in given.extra:
        key = item.partition("=")[0].lstrip("+~")
        if "=" not in item or key in _OURS or key == "data.root" or key.startswith("style."):
            parser.error(f"--extra takes KEY=VALUE, and none that this script sets: {item}")
    return given


def _collect_and_tell(folder: Path) -> int:
    try:
        outcomes = collect(folder)
    except FststyleError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    for outcome in outcomes:
        word = "shipped " if outcome.state == "passed" else "left out"
        _say(f"{word}  {outcome.name}: {outcome.text}")
    if not outcomes:
        print(f"Error: {folder} holds no finished style; train some first.", file=sys.stderr)
    return 0 if outcomes and all(o.state == "passed" for o in outcomes) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, or collect; return the exit status."""
    given = _parse(arguments)
    if given.collect is not None:
        return _collect_and_tell(given.collect)
    paintings, folder = given.paintings.resolve(), given.output.resolve()
    styles, missing = find_styles(paintings)
    if given.styles:
        known = {style.name for style in styles} | set(missing)
        names = [Path(name).name for name in given.styles]
        for name in names:
            if name not in known:
                listed = ", ".join(sorted(known))
                print(f"Error: There is no style {name}; there are {listed}.", file=sys.stderr)
                return 2
        styles = [style for style in styles if style.name in names]
        missing = {name: why for name, why in missing.items() if name in names}
    extra = tuple(given.extra)
    photos = given.photos.resolve()
    zoo = Zoo(folder, photos, paintings, given.minutes, given.jobs, extra, given.iterations)

    def stop(number: int, frame: FrameType | None) -> None:
        # In a thread: whatever was interrupted may hold the lock.
        threading.Thread(target=zoo.stop).start()
        _say("Stopping; the training at hand saves first (again: without waiting)")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    left = [style for style in styles if not finished(folder / style.name)]
    _say(
        f"{len(styles)} styles, {len(left)} of them to train for {given.minutes:g} minutes each: "
        f"{_eta(60 * len(left) * (given.minutes + 5) / given.jobs)}"
    )
    try:
        outcomes = train_all(zoo, styles)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    outcomes += [Outcome(name, "failed", why) for name, why in missing.items()]
    bad = [outcome for outcome in outcomes if outcome.state in ("failed", "rejected")]
    for outcome in bad:
        _say(f"{outcome.state}  {outcome.name}: {outcome.text}")
    if zoo.stopping.is_set():
        _say(f"Interrupted; {len(styles) + len(missing) - len(outcomes)} styles were not begun.")
        return INTERRUPTED
    status = 1 if bad else 0
    return max(status, _collect_and_tell(folder)) if given.ship else status


if __name__ == "__main__":
    sys.exit(main())
