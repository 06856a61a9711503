"""Proof by force: damaged files of every kind, and work that is killed at random moments.

    python scripts/force.py [--seconds 60] [--kills 50] [--seed 0] [--only REGEX]

Damaged files are read for ``--seconds`` per kind, in a process with 3 GB of address space.
Trainings, folders of photos, videos and the page's jobs are killed with ``kill -9`` at ``--kills``
random moments each, and run again. The script prints its progress and a table, and the exit status
is 1 if anything crashed, hung, was left half-written, or differed from the same work without a
kill. The table, and files that crash a reader, are kept in ``--output``. Only for POSIX systems.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from fststyle.images.bundled import builtin_held_out
from fststyle.images.load import load_image
from fststyle.images.resize import middle_square
from fststyle.images.save import save_photo
from fststyle.markdown import markdown_table
from fststyle.styles.find import zoo_folder
from fststyle.styles.style_file import read_style

ROOT: Final = Path(__file__).resolve().parents[1]
HELPERS: Final = ROOT / "tests" / "helpers"
STYLE: Final = "thanos_poster"
PATIENCE: Final = 300.0
"""Seconds after which a process counts as hanging."""

FSTSTYLE: Final = (sys.executable, "-m", "fststyle")
TRAINING: Final = (
    "data.size=64", "data.validation_photos=2", "network.width=4", "network.trunk=16",
    "network.residual_blocks=1", "loss.style_sizes=[64]", "trainer.gates=false", "report=false",
    "install=false", "callbacks.sheets=null", "callbacks.checkpoint.every_steps=1",
)  # fmt: skip
"""Settings for a network that is trained in seconds, with a checkpoint after every step."""


@dataclass
class Row:
    """A row of the table.

    Attributes:
        kind: Kind of files or work.
        tries: Number of damaged files, or of kills.
        results: Number of results, for kills after running the work again.
        refused: Number of errors in one sentence.
        crashes: Number of tracebacks and fatal signals.
        hangs: Number of processes that did not end in time.
        seconds: Longest time of one try.
        megabytes: Peak memory of a process.
        half_written: Number of incomplete or temporary files. ``None`` if nothing is written.
        equal: Number of results that equal those of undisturbed work. ``None`` if not compared.
    """

    kind: str
    tries: int = 0
    results: int = 0
    refused: int = 0
    crashes: int = 0
    hangs: int = 0
    seconds: float = 0.0
    megabytes: float = 0.0
    half_written: int | None = None
    equal: int | None = None

    def is_good(self) -> bool:
        """Return whether nothing went wrong."""
        bad = self.crashes + self.hangs + (self.half_written or 0)
        return not bad and self.equal in (None, self.tries)

    def cells(self) -> list[str]:
        """Return the cells of the row."""
        values = [getattr(self, field.name) for field in fields(self)]
        return [
            "–" if v is None else f"{v:.1f}" if isinstance(v, float) else str(v) for v in values
        ]


def tries(row: Row, count: int) -> Iterator[int]:
    """Count the tries of a row, and print its numbers and the time left after each of them."""
    begin = time.monotonic()
    for number in range(count):
        row.tries += 1
        yield number
        left = (time.monotonic() - begin) / row.tries * (count - row.tries)
        numbers = zip(row.cells()[2:], fields(row)[2:], strict=True)
        text = ", ".join(f"{number} {field.name}" for number, field in numbers).replace("_", "-")
        print(f"{row.kind}: {row.tries}/{count}, {left / 60:.1f} min left: {text}", file=sys.stderr)


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    status: int
    seconds: float
    megabytes: float
    error: str

    def count_in(self, row: Row) -> None:
        """Count the process as a result, an error, a crash or a hang."""
        row.seconds = max(row.seconds, self.seconds)
        row.megabytes = max(row.megabytes, self.megabytes)
        if self.status == 0:
            row.results += 1
        elif self.seconds >= PATIENCE:
            row.hangs += 1
        elif "Traceback" in self.error or "\nError: " not in f"\n{self.error}":
            row.crashes += 1
            print(self.error[-2000:], file=sys.stderr)
        else:
            row.refused += 1


def run(command: Sequence[str], folder: Path, seconds: float = PATIENCE) -> Ended:
    """Run a command, and kill it with ``kill -9`` after the given time."""
    with tempfile.TemporaryFile("w+") as error:
        begin = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=error)
        timer = threading.Timer(seconds, os.kill, (process.pid, signal.SIGKILL))
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        error.seek(0)
        taken = time.monotonic() - begin
        return Ended(process.returncode, taken, usage.ru_maxrss / 1024, error.read())


# Damaged files


def fuzz(what: str, seconds: float, seed: int, output: Path) -> list[Row]:
    """Read damaged files in processes of their own, and return a row for each kind of file."""
    rows: dict[str, Row] = {}
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        shutil.copy(zoo_folder() / "great_wave.onnx", folder)
        while (left := end - time.monotonic()) > 0:
            print(f"damaged {what}: {left:.0f} s left", file=sys.stderr)
            command = [sys.executable, str(HELPERS / "fuzz_cases.py"), what, str(seed), str(left)]
            done = subprocess.run([*command, place], capture_output=True, text=True)
            printed = done.stdout.strip().splitlines()
            found: dict[str, Any] = json.loads(printed[-1] if printed else "{}")
            for kind, counts in found.get("kinds", {}).items():
                name = f"{what}: {kind.split()[0]}"
                row = rows.setdefault(name, Row(name))
                read, refused = counts.get("read", 0), counts.get("refused", 0)
                row.tries, row.results = row.tries + read + refused, row.results + read
                row.refused += refused
                row.seconds = max(row.seconds, counts["slowest"])
                row.megabytes = max(row.megabytes, found["megabytes"])
            if done.returncode != 0:
                name = f"{what}: {(folder / 'kind').read_text().split()[0]}"
                row = rows.setdefault(name, Row(name))
                row.tries += 1
                row.hangs += done.returncode == -signal.SIGPROF
                row.crashes += done.returncode != -signal.SIGPROF
                kept = shutil.copy(folder / "case", output / f"{what}_{seed}")
                print(f"{kept}:\n{done.stderr[-2000:]}", file=sys.stderr)
            seed += 1
    return [rows[name] for name in sorted(rows)]


# Killed work


@dataclass(frozen=True)
class Work:
    """Work that can be killed and run again.

    Attributes:
        command: Function that returns the command, given the folder for the results.
        results: Function that returns the results by name, in a form that can be compared.
    """

    command: Callable[[Path], list[str]]
    results: Callable[[Path], dict[str, str]]


def kill(kind: str, work: Work, count: int, seed: int, folder: Path) -> Row:
    """Kill work at random moments, run it again, and compare the results."""
    row = Row(kind, half_written=0, equal=0)
    moments = random.Random(seed)
    whole = folder / "whole"
    whole.mkdir(parents=True)
    first = run(work.command(whole), whole)
    if first.status != 0:
        raise SystemExit(f"{kind} fails without being killed:\n{first.error}")
    expected = work.results(whole)
    for number in tries(row, count):
        place = folder / str(number)
        place.mkdir()
        run(work.command(place), place, moments.uniform(0, first.seconds))
        made = work.results(place)
        half = sum(made[name] != expected.get(name) for name in made)
        again = run(work.command(place), place)
        again.count_in(row)
        row.equal = (row.equal or 0) + (work.results(place) == expected)
        hidden = [path for path in place.rglob(".*") if path.is_file() and path.name != ".hydra"]
        row.half_written = (row.half_written or 0) + half + len(hidden)
        if hidden:
            print(f"{kind}: left behind {', '.join(path.name for path in hidden)}", file=sys.stderr)
        shutil.rmtree(place)
    return row


def hashes(folder: Path, pattern: str) -> dict[str, str]:
    """Return the SHA-256 of each file by name, without hidden ones."""
    paths = [path for path in folder.glob(pattern) if not path.name.startswith(".")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def training_work(folder: Path) -> Work:
    """Return a training run with resume=auto. Its results are the weights of the network."""

    def command(place: Path) -> list[str]:
        settings = [f"style={STYLE}", "steps=8", f"output_dir='{place / 'run'}'", "resume=auto"]
        script = [sys.executable, str(ROOT / "train.py")]
        return [*script, *settings, f"hydra.run.dir='{place / 'run'}'", *TRAINING]

    def results(place: Path) -> dict[str, str]:
        return {
            name: hashlib.sha256(array.tobytes()).hexdigest()
            for path in place.glob("run/*.onnx")
            for name, array in read_style(path).weights.items()
        }

    return Work(command, results)


def folder_work(folder: Path) -> Work:
    """Return a folder of photos that is stylised with --skip-existing."""
    photos = folder / "photos"
    photos.mkdir()
    for number in range(12):
        photo = middle_square(load_image(builtin_held_out()[number % 3]), 256 + 16 * number)
        save_photo(photo, photos / f"{number}.{('jpg', 'png', 'webp')[number % 3]}")
    options = ["--style", STYLE, "--skip-existing", "--device", "cpu"]
    return Work(
        lambda place: [*FSTSTYLE, "stylize", str(photos), "-o", str(place / "out"), *options],
        lambda place: hashes(place, "out/*"),
    )


def video_work(folder: Path) -> Work:
    """Return a video that is stylised."""
    sys.path.insert(0, str(HELPERS))
    from video_help import moving, write_video

    video = write_video(folder / "video.mp4", moving(75, 144, 192))
    options = ["--style", STYLE, "--device", "cpu"]
    return Work(
        lambda place: [*FSTSTYLE, "video", str(video), "-o", str(place / "out.mp4"), *options],
        lambda place: hashes(place, "*.mp4"),
    )


@contextmanager
def server(folder: Path) -> Iterator[tuple[psutil.Process, httpx.Client]]:
    """Run the page's server."""
    command = [*FSTSTYLE, "serve", "--port", "0", "--no-browser"]
    environment = {**os.environ, "TMPDIR": str(folder), "XDG_DATA_HOME": str(folder)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().split()[-1].partition("?")[0]
        transport = httpx.HTTPTransport(retries=4)  # 7.5 s in all
        with httpx.Client(base_url=url, transport=transport, timeout=PATIENCE) as client:
            yield psutil.Process(process.pid), client
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        process.stdout.close()


def page_job(
    process: psutil.Process, client: httpx.Client, row: Row, kill_after: float | None = None
) -> tuple[dict[str, Any], float, bytes]:
    """Let the server repaint a photo. Returns the state of the job, its time and its result."""
    photo = builtin_held_out()[0].read_bytes()
    settings: dict[str, str | int] = {"style": "ink_wash", "iterations": 4, "size": 64}
    begin = time.monotonic()
    facts = client.post("/api/optimize", content=photo, params=settings).json()
    while facts["status"] == "running" and time.monotonic() - begin < PATIENCE:
        time.sleep(0.02)
        if kill_after is not None and time.monotonic() - begin > kill_after:
            for child in process.children():
                child.kill()
        with suppress(psutil.Error):  # a process that has just ended
            for child in process.children():
                row.megabytes = max(row.megabytes, child.memory_info().rss / 2**20)
        facts = client.get(f"/api/jobs/{facts['id']}").json()
    is_done = facts["status"] == "done"
    image = client.get(f"/api/jobs/{facts['id']}/picture").content if is_done else b""
    return facts, time.monotonic() - begin, image


def kill_jobs(count: int, seed: int, folder: Path) -> Row:
    """Kill the process of a job of the page, and let the server do the same job again."""
    row = Row("kill -9: a page's job", half_written=0, equal=0)
    moments = random.Random(seed)
    with server(folder) as (process, client):
        facts, whole, expected = page_job(process, client, row)
        assert facts["status"] == "done", facts
        for _ in tries(row, count):
            facts, taken, _ = page_job(process, client, row, moments.uniform(0, whole))
            row.refused += facts["status"] == "failed" and "\n" not in facts["error"]
            row.hangs += facts["status"] == "running"
            facts, again, content = page_job(process, client, row)
            row.results += facts["status"] == "done"
            row.equal = (row.equal or 0) + (content == expected)
            row.seconds = max(row.seconds, taken, again)
    row.half_written = sum(path.is_file() for path in folder.rglob("*"))  # the server cleans up
    return row


def kill_servers(count: int, seed: int, folder: Path) -> Row:
    """Kill the page's server during a job, and let the next server do the same job again."""
    row = Row("kill -9: the page's server", half_written=0, equal=0)
    moments = random.Random(seed)
    with server(folder) as (process, client):
        _, whole, expected = page_job(process, client, row)
    for _ in tries(row, count):
        with server(folder) as (process, client):
            children: list[psutil.Process] = []

            def stop(server: psutil.Process = process, jobs: list[Any] = children) -> None:
                jobs += server.children()
                server.kill()

            timer = threading.Timer(moments.uniform(0, whole), stop)
            timer.start()
            with suppress(httpx.TransportError, json.JSONDecodeError):
                page_job(process, client, row)
            timer.join()
        _, alive = psutil.wait_procs(children, PATIENCE)  # jobs end when their server has gone
        row.hangs += len(alive)
        with server(folder) as (process, client):
            row.half_written = (row.half_written or 0) + len(list(folder.glob("fststyle-*"))) - 1
            facts, taken, content = page_job(process, client, row)
            row.results += facts["status"] == "done"
            row.equal = (row.equal or 0) + (content == expected)
            row.seconds = max(row.seconds, taken)
    row.half_written = (row.half_written or 0) + len(list(folder.glob("fststyle-*")))
    return row


WORK: Final = {"training": training_work, "folder": folder_work, "video": video_work}


def main(arguments: Sequence[str] | None = None) -> int:
    """Try everything, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seconds", type=float, default=60.0, help="time for damaged files of each kind (60)")
    add("--kills", type=int, default=50, help="kills of each kind of work (50)")
    add("--seed", type=int, default=0, help="random seed (0)")
    add("--only", default="", metavar="REGEX", help="only these: photos, training, page, …")
    add("-o", "--output", type=Path, default=Path("force"), help="folder for files that crash")
    given = parser.parse_args(arguments)
    output = given.output
    output.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(HELPERS))
    from fuzz_cases import KINDS

    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        for what in KINDS:
            if re.search(given.only, what):
                rows += fuzz(what, given.seconds, given.seed, output)
        for name, make in WORK.items():
            if re.search(given.only, name):
                folder = Path(place, name)
                folder.mkdir()
                rows.append(kill(f"kill -9: {name}", make(folder), given.kills, given.seed, folder))
        if re.search(given.only, "page"):
            for kill_page in (kill_jobs, kill_servers):
                folder = Path(place, kill_page.__name__)
                folder.mkdir()
                rows.append(kill_page(given.kills, given.seed, folder))
    header = ["", "tries", "results", "errors", "crashes", "hangs", "worst s", "worst MB"]
    header += ["half-written", "equal"]
    table = markdown_table(header, [row.cells() for row in rows])
    (output / "table.md").write_text(table + "\n", encoding="utf-8")
    print(table)
    return 0 if all(row.is_good() for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
