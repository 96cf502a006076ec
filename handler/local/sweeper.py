"""The hourly sweep of the upload folder: expired files, unfinished uploads and old refusals.

On AWS the bucket's lifecycle rules do this. A folder has no such rules, so the local server does it in a thread.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..logs import logger
from ..storage.folder.direct import SWEEP_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable


def start(sweep: Callable[[], None], *, every_seconds: float = SWEEP_SECONDS) -> threading.Event:
    """Start a thread that sweeps after each interval. It ends with the process.

    :param sweep: removes everything that is old enough. A failure is logged, and the next sweep tries again.
    :returns: an event that ends the thread.
    """
    stopped = threading.Event()

    def run() -> None:
        while not stopped.wait(every_seconds):
            try:
                sweep()
            except OSError as error:
                logger.error("sweep failed", extra={"reason": repr(error)})

    threading.Thread(target=run, name="sweeper", daemon=True).start()
    return stopped
