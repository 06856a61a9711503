"""Long work for the page: training and optimising, each in a process of its own, one at a time.

The processes are ``fststyle train`` and ``fststyle optimize``. They tell how far they are as lines
of JSON on their standard output: ``{"step": 12, "share": 0.4, "seconds_left": 33.1, …}``.
"""

from __future__ import annotations

import collections
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
from typing import IO, Any, Final, Literal

from fststyle.errors import ERROR_FILE, FststyleError, WeightsError
from fststyle.styles.find import find_picture, list_styles
from fststyle.styles.info import STYLE_NAME
from fststyle.web.errors import Refusal
from fststyle.web.photos import kind_of

Kind = Literal["train", "optimize"]
Status = Literal["running", "done", "failed", "cancelled"]

SHEET_MOMENTS: Final = tuple(round(x / 1000, 3) for x in (5, 15, 30, 50, 75, *range(100, 1001, 50)))
"""Shares of a training after which its sample sheet is drawn anew."""

_ERROR: Final = "error.json"  # in a job's folder
_FILES: Final = {"photo": "The photo", "style": "The style image", "result": "The result"}
_UNKNOWN: Final = "It failed on the server; the server's log has the reason."

_KEPT: Final = 4  # jobs that are over
_PATIENCE: Final = 20.0  # seconds for a process that is asked to end
_NICENESS: Final = 5  # the page is to stay quick

log = logging.getLogger(__name__)


@dataclass
class Job:
    """A process and what it has told.

    Attributes:
        id: Names it; hard to guess.
        kind: What it does.
        name: Of the style.
        folder: Holds its files.
        status: How it stands.
        share: Of its work that is done, from 0 to 1; None before it has begun.
        step: That it has made.
        seconds_left: A guess; None for none.
        error: Why it failed, in a sentence.
        version: Grows with every change.
    """

    id: str
    kind: Kind
    name: str
    folder: Path
    status: Status = "running"
    share: float | None = None
    step: int = 0
    seconds_left: float | None = None
    error: str = ""
    version: int = 0
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    process: subprocess.Popen[str] | None = field(default=None, repr=False)
    cancelled: bool = False
    kept: bool = False

    def facts(self) -> dict[str, Any]:
        """Tell all that a page shows, as JSON can hold it."""
        is_over = self.status != "running"
        seconds = self.seconds if is_over else time.monotonic() - self.began
        picture = self.picture()
        keys = ("id", "kind", "name", "status", "share", "step", "seconds_left", "error")
        return {
            **{key: getattr(self, key) for key in keys},
            "seconds": round(seconds, 1),
            "picture": None if picture is None else picture.stem,
            "version": self.version,
        }

    def picture(self) -> Path | None:
        """Find the newest picture: the sample sheet, or the photo as it is now."""
        last = self.folder / "run" / "sheet.png" if self.kind == "train" else self.result()
        if last.is_file():
            return last
        pattern = "run/samples/step_*.png" if self.kind == "train" else "result_*.png"
        found = sorted(self.folder.glob(pattern))
        # The second newest may be the one that a client is about to fetch; older ones go.
        for path in found[:-3]:
            path.unlink(missing_ok=True)
        return found[-1] if found else None

    def result(self) -> Path:
        """Return where the optimised photo is written at the end."""
        return self.folder / "result.png"


class Jobs:
    """The jobs of a server; one runs at a time.

    Args:
        folder: Private to this process.
        training: Settings of every training, as ``fststyle train`` takes them.
        vgg_weights: A file of VGG weights, instead of looking for them.
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
        """List the jobs that are remembered, the newest first."""
        with self._lock:
            return list(self._jobs.values())[::-1]

    def find(self, job_id: str) -> Job:
        """Find a job.

        Raises:
            Refusal: There is none of that name.
        """
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            raise Refusal(404, "no_job", "There is no such job; it may be long over.")
        return job

    def train(self, picture: Path, name: str, minutes: float) -> Job:
        """Start a training.

        Args:
            picture: Of the style; it is taken over.
            name: Of the new style.
            minutes: Of training.

        Returns:
            The job.

        Raises:
            Refusal: Another job runs, or the name cannot be used.
        """
        if not STYLE_NAME.fullmatch(name):
            raise Refusal(422, "bad_name", "A name has a-z, 0-9, _ and -, and begins with a-z.")
        if any(style.name == name for style in list_styles()):
            raise Refusal(409, "name_taken", f"There is a style {name} already; choose another.")
        job = self._new("train", name, {"style": picture})
        moments = ",".join(map(str, SHEET_MOMENTS))
        command = [
            "train",
            f"style.image={_named(job.folder, 'style')}",
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
        self, photo: Path, style: Path | str, *, iterations: int, size: int, strength: float
    ) -> Job:
        """Start the optimisation of one photo.

        Args:
            photo: It is taken over.
            style: A style picture's file, which is taken over, or the name of an artwork.
            iterations: Of L-BFGS.
            size: Long side of the result.
            strength: The weight of the style.

        Returns:
            The job.

        Raises:
            Refusal: Another job runs.
            StyleError: There is no such artwork.
        """
        files = {"photo": photo}
        if isinstance(style, Path):
            files["style"] = style
        else:
            find_picture(style)
        job = self._new("optimize", style if isinstance(style, str) else "picture", files)
        command = [
            "optimize",
            _named(job.folder, "photo"),
            "--style",
            style if isinstance(style, str) else _named(job.folder, "style"),
            "-o",
            job.result().name,
            f"--iterations={iterations}",
            f"--size={size}",
            f"--style-weight={strength:g}",
            f"--save-every={max(1, iterations // 12)}",
            "--json",
            *([f"--vgg-weights={self._weights}"] if self._weights else []),
        ]
        return self._start(job, command)

    def cancel(self, job_id: str, *, keep: bool) -> Job:
        """End a job that runs.

        Args:
            job_id: Of the job.
            keep: Keep what it has made so far, as Ctrl-C does on the command line.

        Returns:
            The job; it ends soon.

        Raises:
            Refusal: There is none of that name.
        """
        job = self.find(job_id)
        if job.status == "running" and job.process is not None:
            job.kept = job.kept or keep
            job.cancelled = True
            keep = keep and job.share is not None  # before its first step there is nothing
            _signal(job.process, signal.SIGINT if keep else signal.SIGKILL)
        return job

    def close(self) -> None:
        """End what runs, and wait for that."""
        for job in self.all():
            if job.status == "running" and job.process is not None:
                job.cancelled = True
                _signal(job.process, signal.SIGKILL)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    job.process.wait(_PATIENCE)

    def _new(self, kind: Kind, name: str, files: dict[str, Path]) -> Job:
        with self._lock:
            if any(job.status == "running" for job in self._jobs.values()):
                raise Refusal(
                    409, "job_running", "A job is running already; wait for it, or cancel it."
                )
            for job_id in list(self._jobs)[: max(0, len(self._jobs) - _KEPT + 1)]:
                shutil.rmtree(self._jobs.pop(job_id).folder, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(prefix="job-", dir=self._folder))
            for part, path in files.items():
                # The ending, which the command line asks for, is told by the content.
                shutil.move(path, folder / f"{part}.{kind_of(path)}")
            job = Job(secrets.token_urlsafe(16), kind, name, folder)
            self._jobs[job.id] = job
            return job

    def _start(self, job: Job, command: Sequence[str]) -> Job:
        # The paths in the command are within the job's folder, so that no error tells another one.
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        job.process = subprocess.Popen(
            [sys.executable, "-m", "fststyle", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            cwd=job.folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(paths),
                ERROR_FILE: str(job.folder / _ERROR),
            },
            start_new_session=True,  # Ctrl-C is the server's; it ends its jobs by itself
        )
        with contextlib.suppress(OSError, AttributeError):
            niceness = min(19, os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)
            os.setpriority(os.PRIO_PROCESS, job.process.pid, niceness)
        threading.Thread(target=_follow, args=(job, job.process), daemon=True).start()
        return job


def _named(folder: Path, part: str) -> str:
    (path,) = folder.glob(f"{part}.*")
    return f"./{path.name}"


def _follow(job: Job, process: subprocess.Popen[str]) -> None:
    """Take in what a process tells, to its end."""
    assert process.stdout is not None
    assert process.stderr is not None
    said: collections.deque[str] = collections.deque(maxlen=40)
    reader = threading.Thread(target=_collect, args=(process.stderr, said), daemon=True)
    reader.start()
    for line in process.stdout:
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
            told = json.loads(line)
            job.step = int(told["step"])
            job.share = min(1.0, max(0.0, float(told["share"])))
            left = told.get("seconds_left")
            job.seconds_left = None if left is None else float(left)
            job.version += 1
    status = process.wait()
    reader.join(_PATIENCE)
    process.stdout.close()
    process.stderr.close()
    job.seconds = time.monotonic() - job.began
    job.seconds_left = None
    if job.cancelled:
        job.status = "done" if job.kept and _is_there(job) else "cancelled"
    elif status == 0:
        job.status, job.share = "done", 1.0
    else:
        job.error = _failure(job)
        job.status = "failed"
        log.warning("The job %s ended with status %s:\n%s", job.kind, status, "\n".join(said))
    job.version += 1


def _collect(stream: IO[str], said: collections.deque[str]) -> None:
    for line in stream:
        said.append(line.rstrip("\n")[:2000])


def _is_there(job: Job) -> bool:
    if job.kind == "optimize":
        return job.result().is_file()
    return any(style.name == job.name and style.kind == "network" for style in list_styles())


def _failure(job: Job) -> str:
    """Return why a job failed, without paths of the server, as `record_error` wrote it down."""
    try:
        facts = json.loads((job.folder / _ERROR).read_text(encoding="utf-8"))
        path = None if facts["path"] is None else Path(facts["path"])
        name = None if path is None else _FILES.get(path.stem)
        if facts["kind"] == WeightsError.__name__ or (path is not None and name is None):
            return _UNKNOWN  # it is about a file of the server
        error = FststyleError(facts["problem"], remedy=facts["remedy"])
        return error.describe(path=name)
    except (OSError, ValueError, KeyError, TypeError):
        return _UNKNOWN


def _signal(process: subprocess.Popen[str], number: int) -> None:
    """Send a signal to a process and to all that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            process.terminate()
