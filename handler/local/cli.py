"""``python -m handler``: the local server, and commands for its owner.

``… token`` makes an upload token, ``… check`` checks the settings, and ``… redrive`` sends dead letters back.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..logs import write_in_background
from ..problems import MalformedRequest
from ..settings import Settings, SettingsError
from ..storage import KEEP_DAYS, is_folder
from ..storage.folder.direct import LocalDirectUploads
from ..storage.metadata import check_details
from ..web.access import MAX_TOKEN_SECONDS, SCOPES, UPLOAD, is_loopback
from ..web.services import services_of
from . import sweeper
from .check import check_all, check_bucket, make_app
from .prefix import Prefixed
from .server import Server, raise_file_limit
from .terminal import HidesRoutine, TerminalFormatter, banner

if TYPE_CHECKING:
    from flask import Flask

_SECONDS = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60}
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""Ctrl-C, a request to end, and a closed terminal: SIGHUP, or SIGBREAK on Windows, which has no SIGHUP."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: of the command line, without the program's name.
    :returns: the exit status: 0; 1 if ``check`` found an error; 2 with a line on standard error that says what to
        change.
    """
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may not have all characters of a folder's name
    try:
        return _COMMANDS[options.command](options)
    except (SettingsError, CommandError) as error:
        return _fail(str(error))


class CommandError(Exception):
    """A command cannot do its work. The message says what to change."""


def serve(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or another signal."""
    environ = _environ(options)
    settings = Settings.from_environ(environ)
    if settings.access == "loopback" and not is_loopback(options.host):
        raise CommandError(
            f"{options.host} can be reached from elsewhere: set TOKEN_SECRET, or ACCESS=public for all to upload."
        )
    for warning in Settings.misspelt(environ):
        _warn(warning)
    app = make_app(settings)
    _check_prefix(app, options.prefix)
    server = _listen(options, app)
    _stop_on_signals(server)
    try:
        own_origin = _origin(options, server.port)
        if settings.upload_bucket:
            _require_working_bucket(settings.upload_bucket, settings=settings, own_origin=own_origin)
        _print(*banner(settings, f"{own_origin}{options.prefix}"))
        log = _write_log()
        _sweep_hourly(app)
        server.serve_forever()
    finally:
        server.stop()
    if log:
        log.close()
    return 0


def _sweep_hourly(app: Flask) -> None:
    """Delete expired files once an hour, if the files are in a folder. Its first sweep was at the start."""
    uploads = services_of(app).direct_uploads
    if isinstance(uploads, LocalDirectUploads):
        sweeper.start(uploads.sweep)


def _listen(options: argparse.Namespace, app: Flask) -> Server:
    """:raises CommandError: the server cannot listen there."""
    raise_file_limit()
    try:
        return Server(options.host, options.port, Prefixed(app, options.prefix) if options.prefix else app)
    except (OSError, OverflowError) as error:
        errno = getattr(error, "errno", None)
        reason = os.strerror(errno) if errno and errno > 0 else str(error).rstrip(".")
        raise CommandError(
            f"cannot listen on {options.host} port {options.port}: {reason}. Choose with --host and --port."
        ) from None


def check(options: argparse.Namespace) -> int:
    """Check the settings and the storage, and print a line for each check."""
    environ = _environ(options)
    for warning in Settings.misspelt(environ):
        _warn(warning)
    failed = False
    for finding in check_all(environ, own_origin=_origin(options, options.port)):
        _print(str(finding))
        failed = failed or not finding.ok
    return int(failed)


def _require_working_bucket(bucket: str, *, settings: Settings, own_origin: str) -> None:
    """Warn of each error in a bucket's configuration.

    :raises CommandError: with this error the server must not start.
    """
    for finding in check_bucket(bucket, settings=settings, own_origin=own_origin):
        if finding.stops_server:
            raise CommandError(finding.sentence)
        if not finding.ok:
            _warn(f"{finding.subject}: {finding.sentence}")


def token(options: argparse.Namespace) -> int:
    """Print a token that ``TOKEN_SECRET`` signs."""
    from ..web import tokens

    settings = Settings.from_environ(os.environ)
    if not settings.token_secrets:
        raise SettingsError("TOKEN_SECRET", None, "set it to the secret of the endpoint that the token is for.")
    minted = tokens.mint(
        settings.token_secrets[0],
        expires_seconds=options.expires,
        scopes=options.scope or [UPLOAD],
        max_bytes=options.max_bytes,
        extensions=options.extensions.replace(",", " ").split() if options.extensions else None,
        subject=options.subject,
        meta=options.meta,
        folder=options.folder_claim,
        keep_days=options.keep_days,
    )
    _print(minted)
    return 0


def redrive(options: argparse.Namespace) -> int:
    """Send the dead letters of a deployed stack back to their queues, and print a line for each."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError

        from . import dead_letters
    except ImportError:
        raise CommandError(f"this needs boto3. Install it: {sys.executable} -m pip install boto3") from None
    try:
        for line in dead_letters.redrive(options.stack):
            _print(line)
    except (BotoCoreError, ClientError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise CommandError(
            f"AWS responds with an error: {reason}. Every message is still in one of the queues."
        ) from None
    return 0


_COMMANDS: dict[str | None, Callable[[argparse.Namespace], int]] = {
    None: serve,
    "token": token,
    "check": check,
    "redrive": redrive,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m handler", description="Serve the upload endpoint on this machine.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="the port to listen on (default: %(default)s; 0: any)")
    parser.add_argument("--folder", help="where to keep files (default: UPLOAD_BUCKET or UPLOAD_FOLDER, else uploads)")
    parser.add_argument("--prefix", type=_prefix, default="", help="the path to serve under, such as /files-app")
    commands = parser.add_subparsers(dest="command", title="other commands")
    commands.add_parser(
        "check",
        help="check the settings and the bucket",
        description="Check the settings, and the credentials and the bucket if UPLOAD_BUCKET is set.",
    )
    redriving = commands.add_parser(
        "redrive",
        help="send dead letters back to their queues",
        description="Send the dead letters of a deployed stack back to their queues. See docs/operations.md.",
    )
    redriving.add_argument("--stack", default="upload", help="the name of the stack (default: %(default)s)")
    minting = commands.add_parser("token", help="make an upload token", description="Make a token with TOKEN_SECRET.")
    minting.add_argument("--expires", type=_duration, required=True, help="how long it is good: 30m, 1h, 7d")
    minting.add_argument("--scope", choices=SCOPES, action="append", help=f"may be repeated (default: {UPLOAD})")
    minting.add_argument("--max-bytes", type=int, help="the largest size of one file, in bytes")
    minting.add_argument("--extensions", help="the types of files that may be uploaded, such as 'png jpg'")
    minting.add_argument("--subject", help="the user's id, for example: the log shows it")
    minting.add_argument(
        "--meta", type=_json_object, help="a JSON object to keep with each file, such as '{\"order\": 7}'"
    )
    minting.add_argument(
        "--folder", dest="folder_claim", type=_folder, help="the folder of the user: the token is good for no other"
    )
    minting.add_argument("--keep-days", type=int, choices=KEEP_DAYS, help="after how many days the files expire")
    return parser


def _duration(text: str) -> int:
    """Return the seconds of a number and one of s, m, h, d."""
    duration = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if not duration:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 30m, 1h or 7d")
    seconds = int(duration[1]) * _SECONDS[duration[2]]
    if seconds > MAX_TOKEN_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is longer than ten years")
    return seconds


def _json_object(text: str) -> dict[str, Any]:
    """Return the object, small enough to be kept with a file."""
    try:
        value = json.loads(text)
        check_details(meta=value, fields=None, subject=None)
    except MalformedRequest as problem:
        raise argparse.ArgumentTypeError(problem.detail) from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object like '{{\"order\": 7}}'")
    return value


def _folder(text: str) -> str:
    if not is_folder(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name of 1 to 64 letters, digits, '_' and '-'")
    return text


def _prefix(text: str) -> str:
    """Return the path without a slash at its end."""
    path = text.rstrip("/")
    if path and not _PREFIX.fullmatch(path):
        raise argparse.ArgumentTypeError(f"{text!r} is not a path like /files-app")
    return path


def _check_prefix(app: Flask, prefix: str) -> None:
    """:raises CommandError: a route of the app begins with the prefix, so a request could mean either."""
    if prefix and prefix.split("/")[1] in {rule.rule.split("/")[1] for rule in app.url_map.iter_rules()}:
        raise CommandError(f"--prefix {prefix} begins like a route of the endpoint. Choose another one.")


def _environ(options: argparse.Namespace) -> dict[str, str]:
    """Return the environment. A folder on the command line wins over a bucket there."""
    environ = dict(os.environ)
    if options.folder:
        environ.pop("UPLOAD_BUCKET", None)
        environ["UPLOAD_FOLDER"] = options.folder
    return environ


def _origin(options: argparse.Namespace, port: int) -> str:
    """Return the server's own origin, such as ``http://127.0.0.1:8000``."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"http://{host}:{port}"


def _stop_on_signals(server: Server) -> None:
    """Let :data:`_STOP_SIGNALS` stop the server."""

    def stop(*_: object) -> None:
        server.stopping = True

    for name in _STOP_SIGNALS:
        number = getattr(signal, name, None)
        # A shell lets its background processes ignore Ctrl-C, and nohup lets them ignore SIGHUP.
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)


def _write_log() -> logging.Handler | None:
    """Log to standard output: for people on a terminal, as JSON elsewhere."""
    if not sys.stdout.isatty():
        return write_in_background()
    handler = write_in_background(TerminalFormatter())
    if handler:
        handler.addFilter(HidesRoutine())
    return handler


def _print(*lines: str) -> None:
    """Print lines to standard output.

    :raises CommandError: standard output cannot be written, as on a full disk.
    """
    try:
        print(*lines, sep="\n", flush=True)
    except OSError as error:
        # Python would write the rest of the lines once more at its end, and complain in its own words.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise CommandError(
            f"standard output cannot be written: {error.strerror}. Make room, or send it elsewhere."
        ) from None


def _warn(sentence: str) -> None:
    print(f"handler: warning: {sentence}", file=sys.stderr)


def _fail(reason: str) -> int:
    print(f"handler: {reason}", file=sys.stderr)
    return 2
