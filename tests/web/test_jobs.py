from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from errors_help import raises
from training_help import SMALL
from web_help import Server, encoded, running_server

from fststyle.errors import (
    ERROR_FILE,
    FststyleError,
    PhotoError,
    SettingError,
    StyleError,
    WeightsError,
    record_error,
)
from fststyle.perceptual.vgg import VGGWeights
from fststyle.styles.find import art_folder
from fststyle.web.errors import Refusal
from fststyle.web.jobs import Job, Jobs

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")

# Stands for the command line: reports its steps, then does what its environment says.
FAKE = f"""#!{sys.executable}
import json, os, signal, sys, time
from pathlib import Path
how = os.environ["HOW"]
Path("arguments").write_text(json.dumps(sys.argv[1:]))
def tell(step, share):
    print(json.dumps(dict(step=step, share=share, seconds_left=2.5)), flush=True)
def keep(*_):
    Path("result.png").write_bytes(b"kept")
    sys.exit(130)
signal.signal(signal.SIGINT, keep)
print("a line that is no JSON")
tell(1, 0.5)
if how == "hang":
    Path("result_00001.png").write_bytes(b"on the way")
    time.sleep(60)
if how == "fail":
    print("Error: it says so on its standard error too", file=sys.stderr)
    Path(os.environ["FSTSTYLE_ERROR_FILE"]).write_text(os.environ["FACTS"])
    sys.exit(1)
if how == "crash":
    raise ZeroDivisionError("/a/path/of/the/server")
tell(2, 1.0)
Path("result.png").write_bytes(b"done")
"""


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "upload"
    path.write_bytes(encoded(1))
    return path


@pytest.fixture
def all_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    """Jobs whose processes are `FAKE`."""
    program = tmp_path / "fake"
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("HOW", "do")
    folder = tmp_path / "jobs"
    folder.mkdir()
    found = Jobs(folder, training=["trainer=quick"])
    yield found
    found.close()
    for job in found.all():
        assert job.process is not None
        job.process.wait(30)
        wait_for(job, "done", "failed", "cancelled")


def wait_for(job: Job, *statuses: str) -> None:
    end = time.monotonic() + 60
    while job.status not in statuses:
        assert time.monotonic() < end, job
        time.sleep(0.02)


def start(found: Jobs, photo: Path) -> Job:
    return found.optimize(photo, "ink_wash", iterations=24, size=64, style_weight=0.5)


def test_a_job_is_followed_to_its_end(all_jobs: Jobs, photo: Path) -> None:
    job = start(all_jobs, photo)
    wait_for(job, "done")
    assert (job.step, job.share) == (2, 1.0)
    assert not photo.exists()  # taken over
    image = job.image()
    assert image is not None
    assert image.read_bytes() == b"done"
    command = (job.folder / "arguments").read_text()
    assert '"optimize", "./photo.png", "--style", "ink_wash"' in command
    assert '"--save-every=2"' in command
    assert all_jobs.find(job.id) is job
    facts = job.facts()
    assert facts.picture == "result"
    assert str(job.folder) not in str(facts)


def test_a_training_gets_its_settings(all_jobs: Jobs, photo: Path) -> None:
    job = all_jobs.train(photo, "mine", 0.5)
    wait_for(job, "done")
    command = (job.folder / "arguments").read_text()
    for setting in ("style.image=./style.png", "style.name=mine", "minutes=0.5", "trainer=quick"):
        assert f'"{setting}"' in command


def test_only_one_runs(
    all_jobs: Jobs, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOW", "hang")
    start(all_jobs, photo)
    other = tmp_path / "other"
    other.write_bytes(encoded(2))
    with pytest.raises(Refusal) as refused:
        all_jobs.train(other, "mine", 1)
    assert refused.value.code == "job_running"
    assert other.exists()


@pytest.mark.parametrize("keep", [False, True])
def test_cancel(all_jobs: Jobs, photo: Path, monkeypatch: pytest.MonkeyPatch, keep: bool) -> None:
    monkeypatch.setenv("HOW", "hang")
    job = start(all_jobs, photo)
    end = time.monotonic() + 60
    while job.image() is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert all_jobs.cancel(job.id, keep=keep) is job
    wait_for(job, "done" if keep else "cancelled")
    assert job.result().exists() == keep
    all_jobs.cancel(job.id, keep=keep)  # once more does nothing
    monkeypatch.setenv("HOW", "do")
    photo.write_bytes(encoded(1))
    wait_for(start(all_jobs, photo), "done")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            PhotoError("{path} is too small.", path="./photo.png", remedy="Choose another file."),
            "The photo is too small. Choose another file.",
        ),
        (SettingError("No 1/255 is left."), "No 1/255 is left."),
        (StyleError("Cannot read {path}.", path="/a/path/of/the/server.onnx"), None),
        (WeightsError("There are no weights in /a/path/of/the/server."), None),
        (None, None),
    ],
)
def test_failures(
    all_jobs: Jobs,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: FststyleError | None,
    sentence: str | None,
) -> None:
    monkeypatch.setenv("HOW", "crash" if error is None else "fail")
    if error is not None:
        monkeypatch.setenv(ERROR_FILE, str(tmp_path / "error.json"))
        record_error(error)
        monkeypatch.setenv("FACTS", (tmp_path / "error.json").read_text())
    job = start(all_jobs, photo)
    wait_for(job, "failed")
    assert job.error == sentence or (sentence is None and "the server's log" in job.error)
    assert "/a/path" not in job.error


def test_old_jobs_and_their_files_go(all_jobs: Jobs, photo: Path) -> None:
    made = []
    for _ in range(6):
        photo.write_bytes(encoded(1))
        made.append(start(all_jobs, photo))
        wait_for(made[-1], "done")
    assert all_jobs.all() == made[:1:-1]
    assert [job.folder.exists() for job in made] == [False] * 2 + [True] * 4
    with pytest.raises(Refusal):
        all_jobs.find(made[0].id)


def test_names(all_jobs: Jobs, photo: Path) -> None:
    for name in ("great_wave", "ink_wash"):  # a network, an artwork
        with raises(Refusal, "already_exists", name):
            all_jobs.train(photo, name, 1)


# The real processes


@pytest.fixture
def server(style_path: Path, tmp_path: Path) -> Iterator[Server]:
    settings = [f"--training={setting}" for setting in SMALL if setting != "install=false"]
    more = ["--training=init=none", "--training=steps=3", "--training=trainer.validate_every=2"]
    with running_server(tmp_path / "server", style_path, *settings, *more) as server:
        yield server
    assert list(server.temporary.iterdir()) == []


def states(server: Server, job_id: str) -> list[dict[str, Any]]:
    """What the events of a job tell, to its end."""
    found = []
    with httpx.stream("GET", f"{server.url}api/jobs/{job_id}/events", timeout=300) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line.startswith("data: "):
                found.append(httpx.Response(200, text=line.removeprefix("data: ")).json())
    return found


@pytest.mark.engines
def test_a_real_training_and_a_real_optimisation(
    server: Server, original_weights: VGGWeights
) -> None:
    picture = (art_folder() / "ink_wash.jpg").read_bytes()
    answer = server.post("api/train", picture, "image/jpeg", name="mine", minutes=9)
    assert answer.status_code == 202
    job = answer.json()
    assert server.post("api/train", picture, "image/jpeg", name="other").status_code == 409
    told = states(server, job["id"])
    assert told[-1]["status"] == "done", told[-1]
    assert told[-1]["step"] == 3
    shares = [state["share"] for state in told if state["share"] is not None]
    assert shares == sorted(shares)
    sheet = httpx.get(f"{server.url}api/jobs/{job['id']}/picture")
    assert sheet.headers["content-type"] == "image/png"
    names = {style["name"] for style in httpx.get(f"{server.url}api/styles").json()["styles"]}
    assert "mine" in names
    assert server.stylize(encoded(1), style="mine").status_code == 200

    answer = server.post(
        "api/optimize", encoded(1), style="ink_wash", iterations=2, size=32, style_weight=1
    )
    assert answer.status_code == 202
    told = states(server, answer.json()["id"])
    assert told[-1]["status"] == "done", told[-1]
    jobs_now = httpx.get(f"{server.url}api/jobs").json()["jobs"]
    assert [job["kind"] for job in jobs_now] == ["optimize", "train"]
    result = httpx.get(f"{server.url}api/jobs/{answer.json()['id']}/picture")
    assert result.content.startswith(b"\x89PNG")
