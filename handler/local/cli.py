"""``python -m handler``: the local server, and ``python -m handler token``, which makes an upload token."""

from __future__ import annotations

import argparse
import io
import os
import re
import signal
import sys
from collections.abc import Sequence

from ..app import create_app
from ..logs import write_in_background
from ..settings import Settings, SettingsError
from ..web.access import MAX_TOKEN_SECONDS, SCOPES, UPLOAD, is_loopback
from .server import Server, raise_file_limit

_SECONDS = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says.

    :param arguments: of the command line, without the program's name.
    :returns: the exit status: 0, or 2 with a line on standard error that says what to change.
    """
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a folder's name may have what a terminal has not
    try:
        return token(options) if options.command == "token" else serve(options)
    except (SettingsError, OutputError) as error:
        return _fail(str(error))


class OutputError(Exception):
    """Standard output cannot be written, as on a full disk.

    :param reason: what the system says.
    """

    def __init__(self, reason: str | None) -> None:
        super().__init__(f"standard output cannot be written: {reason}. Make room, or send it elsewhere.")


def serve(options: argparse.Namespace) -> int:
    """Serve until interrupted, or told to end."""
    environ = dict(os.environ)
    if options.folder:
        environ.pop("UPLOAD_BUCKET", None)
        environ["UPLOAD_FOLDER"] = options.folder
    settings = Settings.from_environ(environ)
    if settings.access == "loopback" and not is_loopback(options.host):
        return _fail(
            f"{options.host} can be reached from elsewhere: set TOKEN_SECRET, or ACCESS=public for all to upload."
        )
    app = create_app(settings)
    raise_file_limit()
    try:
        server = Server(options.host, options.port, app)
    except (OSError, OverflowError) as error:
        errno = getattr(error, "errno", None)
        reason = os.strerror(errno) if errno and errno > 0 else str(error).rstrip(".")
        return _fail(f"cannot listen on {options.host} port {options.port}: {reason}. Choose with --host and --port.")
    place = f"the bucket {settings.upload_bucket}" if settings.upload_bucket else settings.upload_folder
    host = f"[{options.host}]" if ":" in options.host else options.host
    url = f"http://{host}:{server.port}"
    authorization = " -H 'Authorization: Bearer TOKEN'" if settings.access == "token" else ""
    _stop_on_signals(server)
    try:
        _print(
            f"Serving {url}, keeping files in {place}. Stop with Ctrl-C.",
            f"Try:  curl{authorization} -F file=@photo.jpg {url}/upload",
        )
        log = write_in_background()
        server.serve_forever()
    finally:
        server.stop()
    if log:
        log.close()
    return 0


def token(options: argparse.Namespace) -> int:
    """Print a token that ``TOKEN_SECRET`` signs."""
    from ..web import tokens  # noqa: PLC0415  (the server may not need PyJWT)

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
    )
    _print(minted)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m handler", description="Serve the upload endpoint on this machine.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="the port to listen on (default: %(default)s; 0: any)")
    parser.add_argument("--folder", help="where to keep files (default: UPLOAD_BUCKET or UPLOAD_FOLDER, else uploads)")
    commands = parser.add_subparsers(dest="command", title="other commands")
    minting = commands.add_parser("token", help="make an upload token", description="Make a token with TOKEN_SECRET.")
    minting.add_argument("--expires", type=_duration, required=True, help="how long it is good: 30m, 1h, 7d")
    minting.add_argument("--scope", choices=SCOPES, action="append", help=f"may be given twice (default: {UPLOAD})")
    minting.add_argument("--max-bytes", type=int, help="the most that one file may hold")
    minting.add_argument("--extensions", help="what may be uploaded, such as 'png jpg'")
    minting.add_argument("--subject", help="whom it is for, such as the id of a user: the log has it")
    return parser


def _duration(text: str) -> int:
    """Seconds, from a number and one of s, m, h, d."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 30m, 1h or 7d")
    seconds = int(found[1]) * _SECONDS[found[2]]
    if seconds > MAX_TOKEN_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is longer than ten years")
    return seconds


def _stop_on_signals(server: Server) -> None:
    """Stop on SIGTERM, and on SIGHUP, which a closed terminal sends, as on Ctrl-C."""

    def stop(*_: object) -> None:
        server.stopping = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A shell lets its background processes ignore Ctrl-C, and nohup lets them ignore SIGHUP.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)


def _print(*lines: str) -> None:
    """Print lines to standard output.

    :raises OutputError: they cannot be written.
    """
    try:
        print(*lines, sep="\n", flush=True)
    except OSError as error:
        # Python would write what is left of them once more at its end, and complain in its own words.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(error.strerror) from None


def _fail(reason: str) -> int:
    print(f"handler: {reason}", file=sys.stderr)
    return 2
