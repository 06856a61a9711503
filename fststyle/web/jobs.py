"""Jobs that train a style or repaint a photo. Each has its own process; only one runs at a time.

The processes are ``fststyle train`` and ``fststyle optimize``. They report progress as JSON lines
on standard output: ``{"step": 12, "share": 0.4, "seconds_left": 33.1, …}``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from fststyle.errors import ERROR_FILE, FststyleError, WeightsError
from fststyle.styles.find import find_picture, list_styles
from fststyle.web.errors import UNKNOWN, Refusal, public_message
from fststyle.web.formats import kind_of
from fststyle.web.models import JobFacts

Kind = Literal["train", "optimize"]
Status = Literal["running", "done", "failed", "cancelled"]

SHEET_MOMENTS: Final = tuple(round(x / 1000, 3) for x in (5, 15, 30, 50, 75, *range(100, 1001, 50)))
"""Fractions of a training run after which the sample sheet is redrawn."""

_KEPT: Final = 4  # number of finished jobs that are kept
_STOP_SECONDS: Final = 20.0  # how long to wait for a process to stop
_NICENESS: Final = 5  # lowers the priority of jobs, so that the page stays responsive
_LOG_NAME: Final = "log"  # in a job's folder: the standard error of the process
_LINES: Final = 40  # number of lines of it that are written to the server's log
_ERROR_NAME: Final = "error.json"  # in a job's folder; `ERROR_FILE` holds its path
_NAMES: Final = {"photo": "The photo", "style": "The style image", "result": "The result"}

log = logging.getLogger(__name__)


@dataclass
class Job:
    """A process and the progress that it has reported.

    Attributes:
        id: Random identifier that cannot be guessed.
        kind: Whether the job trains a style or repaints a photo.
        name: Name of the style.
        folder: Folder with the job's files.
        files: The uploaded images, as paths relative to the folder, by field name.
        status: State of the job.
        share: Fraction of the work that is done, from 0 to 1. ``None`` before the first report.
        step: Number of steps completed.
        seconds_left: Estimated remaining time in seconds, or ``None`` if unknown.
        error: If the job failed, a human-readable reason.
        version: Number that increases with every change.
    """

    id: str
    kind: Kind
    name: str
    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    status: Status = "running"
    share: float | None = None
    step: int = 0
    seconds_left: float | None = None
    error: str = ""
    version: int = 0
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    process: subprocess.Popen[str] | None = field(default=None, repr=False)
    cancelled: bool = False
    kept: bool = False

    def facts(self) -> JobFacts:
        """Return the job's state in the form that is sent to clients."""
        return JobFacts.model_validate(self)

    @property
    def seconds(self) -> float:
        """Time in seconds that the job has taken so far, or took in total."""
        return round((self.ended or time.monotonic()) - self.began, 1)

    @property
    def picture(self) -> str | None:
        """Identifier of the newest image."""
        image = self.image()
        return None if image is None else image.stem

    def image(self) -> Path | None:
        """Find the newest image: the sample sheet, or the repainted photo so far."""
        last = self.folder / "run" / "sheet.png" if self.kind == "train" else self.result()
        if last.is_file():
            return last
        pattern = "run/samples/step_*.png" if self.kind == "train" else "result_*.png"
        found = sorted(self.folder.glob(pattern))
        # A client may be about to download an image that is no longer the newest.
        for path in found[:-3]:
            path.unlink(missing_ok=True)
        return found[-1] if found else None

    def result(self) -> Path:
        """Return the path of the finished photo, which is written at the end of the job."""
        return self.folder / "result.png"


class Jobs:
    """The server's jobs, of which only one runs at a time.

    Args:
        folder: A folder that is private to this process.
        training: Settings applied to every training run, in the form that ``fststyle train``
            accepts.
        vgg_weights: File with the VGG weights. By default, the usual locations are searched.
    """

    def __init__(
        self, folder: Path, *, training: Sequence[str] = (), vgg_weights: str | None = None
    ) -> None:
        self._folder = folder
        self._training = tuple(training)
        self._weights = vgg_weights
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}

    def all(self) -> list[Job]:
        """List the running job and the most recently finished ones, newest first."""
        with self._lock:
            return list(self._jobs.values())[::-1]

    def find(self, job_id: str) -> Job:
        """Find a job.

        Raises:
            Refusal: No job has this identifier (code ``unknown_job``).
        """
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            raise Refusal("This job does not exist. Old jobs are removed.", code="unknown_job")
        return job

    def train(self, picture: Path, name: str, minutes: float) -> Job:
        """Start a training run.

        Args:
            picture: Style image file. It is moved to the job's folder.
            name: Name of the new style.
            minutes: Length of the training run in minutes.

        Returns:
            The job.

        Raises:
            Refusal: Another job is running, or the name is already in use.
        """
        if any(style.name == name for style in list_styles()):
            raise Refusal(
                f"The style {name} already exists.",
                remedy="Choose another name.",
                code="already_exists",
            )
        job = self._new("train", name, {"style": picture})
        moments = ",".join(map(str, SHEET_MOMENTS))
        command = [
            "train",
            f"style.image={job.files['style']}",
            f"style.name={name}",
            f"minutes={minutes:g}",
            "report=false",
            "output_dir=run",
            "hydra.run.dir=run",
            "callbacks.progress.json=true",
            f"+callbacks.sheets.at=[{moments}]",
            *([f"vgg_weights={self._weights}"] if self._weights else []),
            *self._training,
        ]
        return self._start(job, command)

    def optimize(
        self, photo: Path, style: Path | str, *, iterations: int, size: int, style_weight: float
    ) -> Job:
        """Start repainting one photo by optimisation.

        Args:
            photo: Photo file. It is moved to the job's folder.
            style: Style image file, which is moved to the job's folder, or the name of an artwork.
            iterations: Number of L-BFGS iterations.
            size: Long side of the result in pixels.
            style_weight: Weight of the style loss.

        Returns:
            The job.

        Raises:
            Refusal: Another job is running.
            StyleError: The artwork does not exist.
        """
        if isinstance(style, Path):
            job = self._new("optimize", "picture", {"photo": photo, "style": style})
        else:
            find_picture(style)
            job = self._new("optimize", style, {"photo": photo})
        command = [
            "optimize",
            job.files["photo"],
            "--style",
            str(job.files.get("style", style)),
            "-o",
            job.result().name,
            f"--iterations={iterations}",
            f"--size={size}",
            f"--style-weight={style_weight:g}",
            f"--save-every={max(1, iterations // 12)}",
            "--json",
            *([f"--vgg-weights={self._weights}"] if self._weights else []),
        ]
        return self._start(job, command)

    def cancel(self, job_id: str, *, keep: bool) -> Job:
        """Stop a job.

        The job does not stop immediately, but shortly afterwards.

        Args:
            job_id: Identifier of the job.
            keep: Keep the result so far, as Ctrl-C does on the command line.

        Returns:
            The job.

        Raises:
            Refusal: No job has this identifier.
        """
        job = self.find(job_id)
        if job.status == "running" and job.process is not None:
            job.kept = job.kept or keep
            job.cancelled = True
            keep = keep and job.share is not None  # there is no result before the first step
            _signal(job.process, signal.SIGINT if keep else signal.SIGKILL)
        return job

    def close(self) -> None:
        """Stop the running job and wait until its process has ended."""
        for job in self.all():
            self.cancel(job.id, keep=False)
            if job.process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    job.process.wait(_STOP_SECONDS)

    def _new(self, kind: Kind, name: str, files: dict[str, Path]) -> Job:
        with self._lock:
            if any(job.status == "running" for job in self._jobs.values()):
                raise Refusal(
                    "A job is already running.",
                    remedy="Wait for it, or cancel it.",
                    code="job_running",
                )
            for job_id in list(self._jobs)[: max(0, len(self._jobs) - _KEPT + 1)]:
                shutil.rmtree(self._jobs.pop(job_id).folder, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(prefix="job-", dir=self._folder))
            job = Job(secrets.token_urlsafe(16), kind, name, folder)
            for part, path in files.items():
                # The command line needs a file extension, which is derived from the content.
                job.files[part] = f"./{part}.{kind_of(path)}"
                shutil.move(path, folder / job.files[part])
            self._jobs[job.id] = job
            return job

    def _start(self, job: Job, command: Sequence[str]) -> Job:
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        with (job.folder / _LOG_NAME).open("wb") as job_log:
            job.process = subprocess.Popen(
                [sys.executable, "-m", "fststyle", *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=job_log,
                encoding="utf-8",
                errors="replace",
                cwd=job.folder,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(paths),
                    ERROR_FILE: str(job.folder / _ERROR_NAME),
                },
                start_new_session=True,  # Ctrl-C must stop only the server, which stops its jobs
            )
        with contextlib.suppress(OSError, AttributeError):
            niceness = min(19, os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)
            os.setpriority(os.PRIO_PROCESS, job.process.pid, niceness)
        threading.Thread(target=_follow, args=(job, job.process), daemon=True).start()
        return job


def _follow(job: Job, process: subprocess.Popen[str]) -> None:
    """Read the progress that a process reports, until the process ends."""
    assert process.stdout is not None
    for line in process.stdout:
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
            progress = json.loads(line)
            job.step = int(progress["step"])
            job.share = min(1.0, max(0.0, float(progress["share"])))
            left = progress.get("seconds_left")
            job.seconds_left = None if left is None else float(left)
            job.version += 1
    process.stdout.close()
    status = process.wait()
    job.ended = time.monotonic()
    job.seconds_left = None
    if job.cancelled:
        job.status = "done" if job.kept and _has_result(job) else "cancelled"
    elif status == 0:
        job.status, job.share = "done", 1.0
    else:
        job.error = _failure(job)
        job.status = "failed"
        lines = (job.folder / _LOG_NAME).read_text(encoding="utf-8", errors="replace").splitlines()
        last = "\n".join(lines[-_LINES:])
        log.warning("The job %s ended with status %s:\n%s", job.kind, status, last)
    job.version += 1


def _has_result(job: Job) -> bool:
    if job.kind == "optimize":
        return job.result().is_file()
    return any(style.name == job.name and style.kind == "network" for style in list_styles())


def _failure(job: Job) -> str:
    """Return why a job failed, based on the error that its process recorded."""
    try:
        facts = json.loads((job.folder / _ERROR_NAME).read_text(encoding="utf-8"))
        if facts["kind"] == WeightsError.__name__:
            return UNKNOWN  # the VGG weights are files on the server
        path = facts["path"]
        error = FststyleError(facts["problem"], path=path, remedy=facts["remedy"])
        name = _NAMES.get(Path(path or "").stem)
        return public_message(error, {path: name} if path and name else None)
    except (OSError, ValueError, KeyError, TypeError):
        return UNKNOWN


def _signal(process: subprocess.Popen[str], number: int) -> None:
    """Send a signal to a process and all processes that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            process.terminate()
