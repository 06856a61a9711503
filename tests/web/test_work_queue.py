from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fststyle.web.errors import Refusal
from fststyle.web.work_queue import ClientGone, WorkQueue


async def here() -> bool:
    return False


async def gone() -> bool:
    return True


def test_work_is_done_and_its_folder_goes(tmp_path: Path) -> None:
    async def main() -> None:
        queue = WorkQueue(tmp_path, threads=1, places=1)
        for _ in range(2):  # the only place is given back
            async with queue.place() as place:
                (place.folder / "upload").write_bytes(b"x")
                assert await place.run(lambda: 6 * 7, seconds=30, gone=here) == 42
            assert list(tmp_path.iterdir()) == []
        queue.close()

    asyncio.run(main())


def test_errors_of_the_work_are_its_callers(tmp_path: Path) -> None:
    def work() -> None:
        raise Refusal(422, "bad", "It is bad.")

    async def main() -> None:
        queue = WorkQueue(tmp_path)
        with pytest.raises(Refusal, match="It is bad"):
            async with queue.place() as place:
                await place.run(work, seconds=30, gone=here)
        assert list(tmp_path.iterdir()) == []
        queue.close()

    asyncio.run(main())


def test_a_full_queue_refuses(tmp_path: Path) -> None:
    async def main() -> None:
        queue = WorkQueue(tmp_path, places=2)
        async with queue.place(), queue.place():
            with pytest.raises(Refusal) as refused:
                async with queue.place():
                    pass
            assert refused.value.status == 429
        async with queue.place():
            pass
        queue.close()

    asyncio.run(main())


@pytest.mark.parametrize("who", ["client", "time"])
def test_what_is_given_up_keeps_its_folder_until_its_thread_is_done(
    tmp_path: Path, who: str
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(30)

    client_gone = gone if who == "client" else here
    error: type[Exception] = ClientGone if who == "client" else Refusal
    folders = []

    async def ask(queue: WorkQueue, work: Callable[[], object], seconds: float) -> None:
        async with queue.place() as place:
            folders.append(place.folder)
            await place.run(work, seconds=seconds if who == "time" else 30, gone=client_gone)

    async def main() -> None:
        queue = WorkQueue(tmp_path, threads=1, places=2)
        with pytest.raises(error):
            await ask(queue, work, 0.3)
        assert begun.is_set()
        assert folders[0].is_dir()  # the thread may still write there
        with pytest.raises(error):  # this one waits behind it, and never runs
            await ask(queue, lambda: pytest.fail("it ran"), 0)
        assert not folders[1].exists()
        go_on.set()
        await asyncio.to_thread(queue.close)
        assert not folders[0].exists()

    asyncio.run(main())
