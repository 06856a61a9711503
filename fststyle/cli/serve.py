"""``fststyle serve``: serve the web page on this computer, or export it for a static host."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from fststyle.cli.arguments import port, positive
from fststyle.cli.extras import require_packages
from fststyle.cli.local_files import local_text, output_path
from fststyle.errors import SettingError

# Every command loads this module, so anything that only `serve` needs is imported in functions.
if TYPE_CHECKING:
    import socket

TOKEN_VARIABLE: Final = "FSTSTYLE_TOKEN"
"""Environment variable that sets the token, instead of a new token for each start."""


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
    command.add_argument(
        "--origin",
        type=_origin,
        action="append",
        default=[],
        metavar="URL",
        help="address of the page behind a proxy, such as https://example.org/art; may be repeated",
    )
    command.add_argument("--no-browser", action="store_true", help="do not open a browser")
    command.add_argument("--no-jobs", action="store_true", help="disable training and repainting")
    command.add_argument(
        "--export",
        type=output_path,
        metavar="DIR",
        help="write the page and all styles to a folder, to be published on a static host",
    )
    limits = command.add_argument_group("limits")
    for name, default, text in (
        ("--max-megabytes", 64, "maximum size of an upload, in megabytes"),
        ("--max-megapixels", 64, "maximum size of a photo, in megapixels"),
        ("--max-seconds", 120, "maximum time per photo, in seconds"),
        ("--max-upload-seconds", 60, "maximum time per upload, in seconds"),
        ("--jobs", 2, "photos to process at the same time"),
        ("--queue", 32, "requests that can wait; further ones get status 429"),
    ):
        limits.add_argument(name, type=positive, default=default, help=text)
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
        type=local_text,
        metavar="FILE",
        help="VGG weights to use instead of those found by default",
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
            "Cannot find the VGG weights {path}.",
            path=options.vgg_weights,
            remedy="Give an existing file, or omit --vgg-weights.",
            code="not_found",
        )
    require_packages("web", "fastapi", "python_multipart", "uvicorn")
    with _listen(options.host, options.port) as listener:
        _serve_on(listener, options)
    return 0


def _serve_on(listener: socket.socket, options: argparse.Namespace) -> None:
    import uvicorn

    from fststyle.web.app import create_app
    from fststyle.web.connection import MOST_CONNECTIONS, Connection
    from fststyle.web.networks import Networks
    from fststyle.web.state import Limits, State
    from fststyle.web.uploads import UploadLimits

    limits = Limits(
        upload=UploadLimits(options.max_megabytes * 2**20, options.max_upload_seconds),
        pixels=options.max_megapixels * 10**6,
        seconds=options.max_seconds,
        threads=options.jobs,
        slots=options.queue,
    )
    state = State(
        limits,
        Networks(options.threads),
        has_jobs=not options.no_jobs,
        training=options.training,
        vgg_weights=options.vgg_weights,
    )
    token = _token(options.token, listener)
    config = uvicorn.Config(
        create_app(state, token, options.origin),
        log_config=None,  # uvicorn's default would disable all other loggers
        log_level="warning",
        access_log=False,  # a logged address could contain the token
        http=Connection,
        ws="none",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    state.stopping = lambda: server.should_exit
    address = _address(options.host, listener.getsockname()[1])
    addresses = [f"{each}?token={token}" if token else each for each in (address, *options.origin)]
    print(f"fststyle is at {addresses[0]}", flush=True)
    for each in addresses[1:]:
        print(f"Behind the proxy, it is at {each}", flush=True)
    print("Press Ctrl-C to stop.", file=sys.stderr)
    if not options.no_browser and _has_screen():
        import webbrowser

        webbrowser.open(addresses[0])
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


def _origin(text: str) -> str:
    """Check the address of a page, and write it as browsers do."""
    try:
        scheme, host, path, query, fragment = urlsplit(text)
        default = {"http": ":80", "https": ":443"}[scheme]
    except (ValueError, KeyError):
        host = ""
    if not re.fullmatch(r"[\w.:\[\]-]+", host, re.ASCII) or query or fragment:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the address of a page, such as https://example.org/art"
        )
    return f"{scheme}://{host.lower().removesuffix(default)}{path.rstrip('/')}/"


def _token(given: str | None, listener: socket.socket) -> str | None:
    import ipaddress
    import secrets

    token = given or os.environ.get(TOKEN_VARIABLE)
    if token is None:
        is_loopback = ipaddress.ip_address(listener.getsockname()[0]).is_loopback
        return None if is_loopback else secrets.token_urlsafe(24)
    if not (len(token) >= 16 and token.isascii() and token.isprintable()) or ";" in token:
        raise SettingError("A token must have at least 16 letters and digits.", code="bad_token")
    return token


def _listen(host: str, port: int) -> socket.socket:
    import socket

    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, backlog=256, dualstack_ipv6=both)
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise SettingError(
                f"{host} is not an address of this computer.",
                remedy="Choose another --host.",
                code="bad_address",
            ) from error
        raise SettingError(
            f"Cannot listen on {host}:{port} ({os.strerror(error.errno or 0)}).",
            remedy="Choose another --port, or --port 0 for any free port.",
            code="port_taken",
        ) from error


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
