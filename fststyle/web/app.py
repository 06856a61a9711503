"""The server for the web page and its HTTP API.

The API is described in the guide to the page and, for programs, in ``/api/openapi.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import FastAPI

from fststyle import __version__
from fststyle.web import jobs_api, page_api, photos_api
from fststyle.web.guard import Guard
from fststyle.web.handlers import add_handlers
from fststyle.web.networks import Networks
from fststyle.web.page_files import page_folder
from fststyle.web.state import Limits, State


def create_app(
    *,
    limits: Limits | None = None,
    token: str | None = None,
    jobs: bool = True,
    training: Sequence[str] = (),
    vgg_weights: str | None = None,
    network_threads: int | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Guard:
    """Create the server's application.

    Args:
        limits: The server's limits.
        token: Token that every request must send. ``None`` is allowed only if the server listens
            on the loopback interface.
        jobs: Whether clients may repaint photos and train styles.
        training: Settings applied to every training run, in the form that ``fststyle train``
            accepts.
        vgg_weights: File with the VGG weights for jobs. By default, the usual locations are
            searched.
        network_threads: Number of CPU threads for each network. By default, OpenVINO chooses.
        stopping: Function that returns whether the server is about to stop. If so, event streams
            are closed.

    Returns:
        An ASGI application.
    """
    state = State(
        limits or Limits(), Networks(network_threads), jobs, training, vgg_weights, stopping
    )
    app = FastAPI(
        title="fststyle",
        version=__version__,
        description="Apply trained styles to photos.",
        docs_url=None,  # FastAPI's documentation pages load scripts from other sites
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
        lifespan=state.lifespan,
    )
    app.state.shared = state
    routers = (
        photos_api.router,
        jobs_api.router if jobs else jobs_api.disabled_router,
        page_api.router,
    )
    for router in routers:
        app.include_router(router)
    app.state.api_routes = [route for router in routers for route in router.routes]
    app.router.default = page_api.PageFiles(directory=page_folder(), html=True, follow_symlink=True)
    add_handlers(app)
    return Guard(app, token)
