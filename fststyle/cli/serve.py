"""``fststyle serve``: serve the web page on this computer, or export it for a static host."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fststyle.cli.arguments import port, positive
from fststyle.cli.extras import require_packages
from fststyle.errors import SettingError

# Every command loads this module, so anything that only `serve` needs is imported in functions.
if TYPE_CHECKING:
    import socket

TOKEN_VARIABLE: Final = "FSTSTYLE_TOKEN"
"""Environment variable that sets the token, instead of a new token for each start."""

_MOST_CONNECTIONS: Final = 512


def add_command(commands: Any) -> None:
    """Add ``fststyle serve`` to the command line.

    Args:
        commands: Result of ``ArgumentParser.add_subparsers``.
    """
    command = commands.add_parser(
        "serve",
        help="open a web page for stylising photos",
        description="Serve a web page on this computer for stylising photos, using the camera and "
        "training styles. This needs an extra: pip install 'fststyle[web]'.",
    )
    command.add_argument("--port", type=port, default=8765, help="port; 0 for any free port")
    command.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; if other computers can reach it, requests need a token",
    )
    command.add_argument(
        "--token",
        help="token of at least 16 characters that requests must include; default: "
        f"${TOKEN_VARIABLE}, or a new token if other computers can reach --host",
    )
    command.add_argument("--no-browser", action="store_true", help="do not open a browser")
    command.add_argument("--no-jobs", action="store_true", help="disable training and repainting")
    command.add_argument(
        "--export",
        type=Path,
        metavar="DIR",
        help="write the page and all styles to a folder, to be published on a static host",
    )
    limits = command.add_argument_group("limits")
    limits.add_argument(
        "--max-megabytes", type=positive, default=64, help="maximum size of an upload, in megabytes"
    )
    limits.add_argument(
        "--max-megapixels", type=positive, default=64, help="maximum size of a photo, in megapixels"
    )
    limits.add_argument(
        "--max-seconds", type=positive, default=120, help="maximum time per photo, in seconds"
    )
    limits.add_argument(
        "--max-upload-seconds",
        type=positive,
        default=60,
        help="maximum time per upload, in seconds",
    )
    limits.add_argument(
        "--jobs", type=positive, default=2, help="photos to process at the same time"
    )
    limits.add_argument(
        "--queue",
        type=positive,
        default=32,
        help="requests that can wait; further ones get status 429",
    )
    command.add_argument("--threads", type=positive, help="processor threads per network")
    command.add_argument(
        "--training",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="setting for every training run, such as trainer.gates=false; may be repeated",
    )
    command.add_argument(
        "--vgg-weights",
        metavar="FILE",
        help="VGG weights to use instead of those found automatically",
    )
    command.set_defaults(run=serve)


def serve(options: argparse.Namespace) -> int:
    """Serve the web page until Ctrl-C is pressed, or export it.

    Args:
        options: The parsed command line.

    Returns:
        The exit status, 0.

    Raises:
        FststyleError: A setting or the address is invalid, or a package is missing.
    """
    if options.export is not None:
        from fststyle.web.page_files import export_page

        count = export_page(options.export)
        print(f"{options.export}  {count} style{'' if count == 1 else 's'}")
        return 0
    for item in options.training:
        if not re.fullmatch(r"[~+]?[\w.]+=.*|~[\w.]+", item):
            raise SettingError(
                f"--training expects KEY=VALUE, such as trainer.gates=false, not {item}.",
                code="usage",
            )
    if options.vgg_weights is not None and not Path(options.vgg_weights).is_file():
        raise SettingError(
            "There is no file of VGG weights at {path}.",
            path=options.vgg_weights,
            remedy="Give an existing file, or omit --vgg-weights.",
            code="not_found",
        )
    require_packages("web", "fastapi", "python_multipart", "uvicorn")
    import uvicorn

    from fststyle.web.app import create_app
    from fststyle.web.state import Limits
    from fststyle.web.uploads import UploadLimits

    token = _token(options)
    server: uvicorn.Server | None = None
    app = create_app(
        limits=Limits(
            upload=UploadLimits(options.max_megabytes * 2**20, options.max_upload_seconds),
            pixels=options.max_megapixels * 10**6,
            seconds=options.max_seconds,
            threads=options.jobs,
            slots=options.queue,
        ),
        token=token,
        jobs=not options.no_jobs,
        training=options.training,
        vgg_weights=options.vgg_weights,
        network_threads=options.threads,
        stopping=lambda: server is not None and server.should_exit,
    )
    config = uvicorn.Config(
        app,
        log_config=None,  # uvicorn's default would disable all other loggers
        log_level="warning",
        access_log=False,  # a logged address could contain the token
        http="h11",
        ws="none",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=3,
    )
    with contextlib.closing(_listen(options.host, options.port)) as listener:
        address = _address(options.host, listener.getsockname()[1])
        print(f"fststyle is at {address}" + (f"?token={token}" if token else ""), flush=True)
        print("Press Ctrl-C to stop.", file=sys.stderr)
        if not options.no_browser and _has_screen():
            import webbrowser

            webbrowser.open(address + (f"?token={token}" if token else ""))
        with contextlib.suppress(KeyboardInterrupt):
            server = uvicorn.Server(config)
            server.run(sockets=[listener])
    return 0


def _token(options: argparse.Namespace) -> str | None:
    token = options.token or os.environ.get(TOKEN_VARIABLE)
    if token is not None:
        if not (len(token) >= 16 and token.isascii() and token.isprintable()) or ";" in token:
            raise SettingError(
                "A token must have at least 16 letters and digits.", code="bad_token"
            )
        return str(token)
    import secrets

    return None if _is_loopback(options.host) else secrets.token_urlsafe(24)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    import socket

    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingError(
            f"{host} is not an address of this computer ({error.strerror}).",
            remedy="Choose another --host.",
            code="bad_address",
        ) from error
    try:
        if os.name == "posix":  # on Windows two servers could share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise SettingError(
            f"Cannot listen on {host}:{port} ({error.strerror}).",
            remedy="Choose another --port, or --port 0 for any free port.",
            code="port_taken",
        ) from error
    return listener


def _address(host: str, port: int) -> str:
    import socket

    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


def _has_screen() -> bool:
    if not sys.stdout.isatty():
        return False
    return sys.platform != "linux" or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
