"""The server for the web page and its HTTP API.

The API is described in the guide to the page and, for programs, in ``/api/openapi.json``.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI

from fststyle import __version__
from fststyle.web import jobs_api, page_api, photos_api
from fststyle.web.guard import Guard
from fststyle.web.handlers import add_handlers
from fststyle.web.page_files import page_folder
from fststyle.web.state import State


def create_app(state: State, token: str | None = None, origins: Sequence[str] = ()) -> Guard:
    """Create the server's application.

    Args:
        state: State shared by all requests, including the limits and settings.
        token: Token that every request must send. ``None`` is allowed only if the server listens
            on the loopback interface.
        origins: Addresses of the page behind proxies.

    Returns:
        An ASGI application.
    """
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
        jobs_api.router if state.has_jobs else jobs_api.disabled_router,
        page_api.router,
    )
    for router in routers:
        app.include_router(router)
    app.state.api_routes = [route for router in routers for route in router.routes]
    app.router.default = page_api.PageFiles(directory=page_folder(), html=True, follow_symlink=True)
    add_handlers(app)
    return Guard(app, token, origins)
