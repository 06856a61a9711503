"""The command ``python train.py``, which composes the configuration with Hydra and trains."""

from __future__ import annotations

import contextlib
import datetime
import difflib
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fststyle.errors import FststyleError, SettingError, TrainingError, record_error
from fststyle.perceptual import evaluate
from fststyle.styles import find
from fststyle.training import gates
from fststyle.training.arguments import as_typed
from fststyle.training.callbacks import stop_signals
from fststyle.training.settings import config_folder, explain, style_choices
from fststyle.training.sweep import (
    RunNote,
    SweepRun,
    note_run,
    noted_runs,
    read_notes,
    to_install,
    write_sweep_sheet,
)
from fststyle.training.train import TrainingResult, train

log = logging.getLogger(__name__)

INTERRUPTED: Final = 130
"""Exit status of a run ended by Ctrl-C; its style file is still written."""

_HYDRA_FLAGS: Final = ("--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i", "--version")


def main() -> None:
    """Run ``python train.py style=NAME [key=value …]``.

    Raises:
        SystemExit: The exit status is not 0.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    sys.argv[1:] = as_typed(sys.argv[1:])
    _require_style(sys.argv[1:])
    for number in stop_signals():
        if number != signal.SIGINT:
            signal.signal(number, _terminate)
    quiet_threads()
    # Otherwise Hydra reports every error in its own way.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        status = _run_all()
    except FststyleError as error:  # the temporary folder is missing or full
        status = _fail(error)
    if status:
        raise SystemExit(status)


def _run_all() -> int:
    with noted_runs() as notes:
        try:
            run()
            status = 0
        except KeyboardInterrupt:
            sys.stderr.write(
                "Interrupted. Training writes a checkpoint every minute; if one exists, "
                "resume=auto continues from it.\n"
            )
            status = INTERRUPTED
        except (HydraException, OmegaConfBaseException) as error:
            status = _fail(explain(error))
        except OSError as error:
            if read_notes(notes):
                raise
            problem = f"Cannot create the run's folder {{path}} ({error.strerror})."
            remedy = "Change to a folder that you can write to, or set hydra.run.dir=FOLDER."
            code = "cannot_write"
            status = _fail(TrainingError(problem, path=error.filename, remedy=remedy, code=code))
        finally:
            ended = read_notes(notes)
            sweep_status = end_sweep(ended)
    return max([status, sweep_status, *(note.status for note in ended)])


@hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")
def run(cfg: DictConfig) -> None:
    """Train once, print the results, and record how the run ended.

    Errors caused by the user are printed rather than raised, so that the remaining runs of a
    sweep still start. Hydra ignores the returned value, so `main` reads the records instead.

    Args:
        cfg: Configuration composed by Hydra.

    Raises:
        SystemExit: Ctrl-C ended the run early. No other run starts.
    """
    context = HydraConfig.get()
    in_sweep = context.mode == RunMode.MULTIRUN
    sweep = str(Path(context.sweep.dir).absolute()) if in_sweep else None
    number = context.job.num if in_sweep else 0
    status, folder = 1, None
    note_run(number, RunNote(status, folder, sweep))  # in case the process dies
    try:
        result = train(cfg, overrides=context.overrides.task, in_sweep=in_sweep)
        folder = str(result.style_file.parent.absolute())
        _print_result(result)
        status = INTERRUPTED if result.interrupted else 0
        note_run(number, RunNote(status, folder, sweep))
        if result.interrupted:
            sys.stderr.write("Training was interrupted; resume=auto continues this run.\n")
            raise SystemExit(INTERRUPTED)
        gates.require(result.gates, result.style_file)
    except FststyleError as error:
        status = _fail(error)
    except OmegaConfBaseException as error:
        status = _fail(SettingError(str(error).splitlines()[0]))
    finally:
        note_run(number, RunNote(status, folder, sweep))
        remove_empty(Path(context.runtime.output_dir))


def end_sweep(notes: Sequence[RunNote]) -> int:
    """Install the styles that a sweep trained exactly once, and draw its sheet.

    Args:
        notes: Records of all runs. Runs outside a sweep are ignored.

    Returns:
        The exit status: 1 if the sheet cannot be written, otherwise 0.
    """
    folders = [note.folder for note in notes if note.folder and note.sweep]
    runs = [run for run in map(SweepRun.read, map(Path, folders)) if run is not None]
    sole, several = to_install(runs)
    for sole_run in sole:
        copy = find.install(sole_run.style_file, sole_run.interrupted)
        if copy is not None:
            sys.stdout.write(_how_to_use(copy.stem))
    if several:
        names, folder = ", ".join(several), find.user_styles_folder()
        log.info(
            "Several networks were trained for %s, so none was installed. Copy one to %s.",
            names,
            folder,
        )
    if len(runs) < 2:
        return 0
    path = Path(str(notes[0].sweep)) / f"sweep_{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}.png"
    try:
        write_sweep_sheet(runs, path)
    except FststyleError as error:
        return _fail(error)
    sys.stdout.write(f"Sweep sheet   {path}\n")
    sys.stdout.flush()
    return 0


def quiet_threads() -> None:
    """Suppress the traceback if a thread ends because it cannot write a file.

    A logger's thread passes its error on to the next write, which reports it.
    """
    usual = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not isinstance(arguments.exc_value, OSError):
            usual(arguments)

    threading.excepthook = hook


def remove_empty(folder: Path) -> None:
    """Remove Hydra's folder if the run did not start or uses another folder."""
    with contextlib.suppress(OSError):  # not empty
        folder.rmdir()
        folder.parent.rmdir()


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _require_style(arguments: Sequence[str]) -> None:
    """Exit with status 2 if no style is given. Checking here avoids a folder created by Hydra."""
    keys = [argument.partition("=")[0].lstrip("+~") for argument in arguments]
    if any(key.split(".")[0] == "style" or key in _HYDRA_FLAGS for key in keys):
        return
    for key in difflib.get_close_matches("style", keys):
        sys.stderr.write(f"Unknown setting {key}; did you mean style?\n")
    sys.stderr.write(
        "Choose a style: python train.py style=NAME, where NAME is one of\n  "
        + "\n  ".join(style_choices())
        + "\nor use your own style image: style.image=my.jpg style.name=mine\n"
    )
    raise SystemExit(2)


def _fail(error: FststyleError) -> int:
    """Print an error, record it for the program that started this one, and return the status."""
    record_error(error)
    sys.stderr.write(f"Error: {error}\n")
    return 1


def _print_result(result: TrainingResult) -> None:
    lines = [f"Style file    {result.style_file}"]
    if result.installed is not None:
        lines.append(_how_to_use(result.installed.stem).rstrip())
    lines.append(f"Sample sheet  {result.sheet}")
    if result.held_out:
        losses = ", ".join(f"{name} {value:.3f}" for name, value in result.held_out.items())
        lines.append(f"Held-out loss {losses}")
    if result.gates:
        passed = sum(gate.passed for gate in result.gates)
        lines.append(f"Gates         {passed} of {len(result.gates)} passed")
    if result.report is not None:
        lines += [f"Report        {result.report}", "", evaluate.summary(result.report)]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _how_to_use(name: str) -> str:
    return f"Use it        fststyle stylize photo.jpg --style {name} -o out.jpg\n"
