"""The API against what its own description allows, and against what it does not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from web_help import Server, running_server


@pytest.fixture(scope="module")
def server(style_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("fuzzed")
    with running_server(folder, style_path, "--threads", "1", "--max-megabytes", "1") as server:
        yield server
    assert "Traceback" not in server.log
    assert list(server.temporary.iterdir()) == []


@pytest.fixture(scope="module")
def api(server: Server) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}api/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_answers_are_as_described(api: Any, mode: GenerationMode) -> None:
    # Not by schemathesis' own plugin, which does not know the newest pytest.
    tried = set()
    for found in api.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=12,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            # No server error, no undescribed status, no other type or body than described. That a
            # body is no picture, the description cannot say.
            case.call_and_validate(timeout=60, excluded_checks=[positive_data_acceptance])

        # Where there is nothing that could be wrong.
        with contextlib.suppress(*([Unsatisfiable] if mode == GenerationMode.NEGATIVE else [])):
            check()
        tried.add(operation.label)
    assert {"POST /api/stylize", "POST /api/train", "DELETE /api/jobs/{job_id}"} <= tried
