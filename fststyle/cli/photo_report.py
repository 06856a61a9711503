"""The output of ``fststyle stylize``: a line for each photo, a progress bar, and a summary."""

from __future__ import annotations

import json
import sys
import time
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import IO, Any, Final

from fststyle.cli.errors import NAMES, sentence
from fststyle.errors import FststyleError
from fststyle.images.folder import FolderPhotos
from fststyle.stylize.output_paths import Task
from fststyle.stylize.pipeline import Outcome

_STREAMS: Final = ("standard input", "standard output")


class PhotoReport:
    """The report on a run.

    Args:
        style: Name of the style.
        out: Stream for the lines about photos.
        as_json: Whether these lines are JSON.
        found: What was left out of the input folders, or ``None`` if there is only one photo.
    """

    def __init__(
        self, style: str, out: IO[str], *, as_json: bool, found: FolderPhotos | None
    ) -> None:
        self._style = style
        self._out = out
        self._as_json = as_json
        self._found = found
        self._bar: Any = None
        self._failed: list[FststyleError] = []
        self._begin = time.perf_counter()
        self._count = 0
        self._faces = 0

    def progress(self, total: int) -> AbstractContextManager[Any]:
        """Show a progress bar until the end of the ``with`` block, if there are several photos."""
        if self._found is None:  # saves the tenth of a second that importing tqdm takes
            return nullcontext()
        from tqdm import tqdm

        # With disable=None, tqdm shows no bar if standard error is not a terminal.
        self._bar = tqdm(total=total, unit="photo", disable=None, leave=False)
        return closing(self._bar)

    def skipped(self, task: Task) -> None:
        """Report a photo whose result already exists."""
        self._line(f"{task.target}  already exists", task.source, task.target, skipped=True)

    def done(self, outcome: Outcome[Task]) -> None:
        """Report a photo that was stylised, or that failed."""
        task, error = outcome.task, outcome.error
        self._count += 1
        if error is None:
            milliseconds = 1000 * outcome.seconds
            faces = {} if outcome.faces is None else {"faces": outcome.faces}
            self._faces += outcome.faces or 0
            text = f"{outcome.width}×{outcome.height}  {self._style}  {milliseconds:.0f} ms"
            text += f"  {_faces(outcome.faces)}" if outcome.faces is not None else ""
            self._line(
                f"{_shown(task.target)}  {text}",
                task.source,
                task.target,
                width=outcome.width,
                height=outcome.height,
                milliseconds=round(milliseconds, 1),
                **faces,
            )
        else:
            if error.path is None:
                error.problem = f"{_shown(task.source)}: {error.problem}"
            self._fail(error, task.source)
        if self._bar is not None:
            self._bar.update()

    def status(self) -> int:
        """Print a summary with any failures, and return the exit status."""
        if self._found is None:
            if self._failed:
                raise self._failed[0]
            return 0
        failed = len(self._failed)  # photos
        for folder in self._found.unreadable:
            self._fail(folder, Path(folder.path or ""))
        if self._count or self._failed:
            done = self._count - failed
            seconds = time.perf_counter() - self._begin
            print(
                f"{done} photo{'' if done == 1 else 's'} in {seconds:.1f} s"
                + (f", {_faces(self._faces)}" if self._faces else "")
                + (f", {len(self._failed)} failed:" if self._failed else ""),
                file=sys.stderr,
            )
        for error in self._failed:
            print(f"  {sentence(error)}", file=sys.stderr)
        if summary := self._found.summary():
            print(summary, file=sys.stderr)
        return 1 if self._failed else 0

    def _fail(self, error: FststyleError, source: Path) -> None:
        self._failed.append(error)
        if self._as_json:
            self._line("", source, None, error=sentence(error))

    def _line(self, text: str, source: Path, target: Path | None, **facts: Any) -> None:
        if self._as_json:
            paths = {
                name: None if path is None else "-" if _shown(path) in _STREAMS else _shown(path)
                for name, path in (("input", source), ("output", target))
            }
            empty = dict.fromkeys(("width", "height", "milliseconds"))
            line = {**paths, "style": self._style, **empty, "skipped": False, "error": None}
            text = json.dumps(line | facts, ensure_ascii=False)
        if self._bar is None or self._bar.disable:
            print(text, file=self._out, flush=True)
        else:
            self._bar.write(text, file=self._out)  # above the bar


def _faces(number: int) -> str:
    return f"{number} face{'' if number == 1 else 's'}"


def _shown(path: Path) -> str:
    return NAMES.get(str(path), str(path))
