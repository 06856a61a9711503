"""The page's server: its HTTP API, and the page itself.

The guide to the page describes the API for people, ``/api/openapi.json`` for programs.
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
        limits: Limits of the server.
        token: Token that every request must send. None is only for a server on loopback.
        jobs: Photos can be repainted and styles trained.
        training: Settings of every training, as ``fststyle train`` takes them.
        vgg_weights: File of VGG weights for the jobs. By default they are searched for.
        network_threads: Number of processor threads of a network. By default OpenVINO chooses.
        stopping: Return whether the server is about to stop. Long answers then end.

    Returns:
        An ASGI application.
    """
    state = State(
        limits or Limits(), Networks(network_threads), jobs, training, vgg_weights, stopping
    )
    app = FastAPI(
        title="fststyle",
        version=__version__,
        description="Give photos a trained style.",
        docs_url=None,  # these pages load scripts from other sites
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
