from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from anyio import create_task_group

from fststyle.web.errors import ClientGone, Refusal
from fststyle.web.work_queue import WorkQueue


@asynccontextmanager
async def work_queue(folder: Path, **limits: int) -> AsyncIterator[WorkQueue]:
    async with create_task_group() as tasks:
        yield WorkQueue(folder, tasks, **limits)
        tasks.cancel_scope.cancel()


async def here() -> bool:
    return False


async def gone() -> bool:
    return True


def test_work_is_done_and_its_folder_is_deleted(tmp_path: Path) -> None:
    async def main() -> None:
        async with work_queue(tmp_path, threads=1, slots=1) as queue:
            for _ in range(2):  # the only slot is free again
                async with queue.slot() as slot:
                    (slot.folder / "upload").write_bytes(b"x")
                    assert await slot.run(lambda: 6 * 7, seconds=30, gone=here) == 42
                assert list(tmp_path.iterdir()) == []

    asyncio.run(main())


def test_errors_of_the_work_are_its_callers(tmp_path: Path) -> None:
    def work() -> None:
        raise Refusal("It is bad.")

    async def main() -> None:
        async with work_queue(tmp_path) as queue:
            with pytest.raises(Refusal, match="It is bad"):
                async with queue.slot() as slot:
                    await slot.run(work, seconds=30, gone=here)
            assert list(tmp_path.iterdir()) == []

    asyncio.run(main())


def test_a_full_queue_refuses(tmp_path: Path) -> None:
    async def main() -> None:
        async with work_queue(tmp_path, slots=2) as queue:
            async with queue.slot(), queue.slot():
                with pytest.raises(Refusal) as refused:
                    async with queue.slot():
                        pass
                assert refused.value.code == "queue_full"
            async with queue.slot():
                pass

    asyncio.run(main())


@pytest.mark.parametrize("who", ["client", "time"])
def test_abandoned_work_keeps_its_folder_until_its_thread_is_done(tmp_path: Path, who: str) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(30)

    client_gone = gone if who == "client" else here
    error: type[Exception] = ClientGone if who == "client" else Refusal
    folders = []

    async def ask(queue: WorkQueue, work: Callable[[], object], seconds: float) -> None:
        async with queue.slot() as slot:
            folders.append(slot.folder)
            await slot.run(work, seconds=seconds if who == "time" else 30, gone=client_gone)

    async def main() -> None:
        async with work_queue(tmp_path, threads=1, slots=2) as queue:
            with pytest.raises(error):
                await ask(queue, work, 0.3)
            assert begun.is_set()
            assert folders[0].is_dir()  # the thread may still write there
            with pytest.raises(error):  # this waits for the thread, and never runs
                await ask(queue, lambda: pytest.fail("it ran"), 0)
            await asyncio.sleep(0.05)
            assert not folders[1].exists()
            go_on.set()
        assert not folders[0].exists()

    asyncio.run(main())
