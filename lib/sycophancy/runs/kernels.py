"""A notebook's kernel that a signal asks to end: what is in hand is finished and saved first."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

ASKED = ("SIGTERM", "SIGHUP")  # SIGINT interrupts a cell already, and a kernel outlives it
REPLY_SECONDS = 1.0  # for the reply that tells whoever waits for the cell what stopped it


def interrupt_and_end() -> None:
    """Let SIGTERM and SIGHUP interrupt the cell of this kernel, as Ctrl-C does, and then end it.

    The kernel ends by the signal that it was sent. In a process that is no kernel, and outside of
    its main thread, nothing changes; nor does SIGHUP where it is ignored, as it is below nohup.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if getattr(shell, "kernel", None) is None:
        return
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ASKED:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)


def interrupt(number: int, frame: Any) -> None:
    """Handle a signal: interrupt the cell that runs, if one does, and end once it has ended."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # ipykernel's, between cells
        end_by(number)
    signal.signal(number, signal.SIG_IGN)  # a second one would come in the middle of the saving
    atexit.register(end_by, number)  # where a request to shut down is served first
    with suppress(RuntimeError):  # a front end with an event loop of its own
        asyncio.get_running_loop().call_later(REPLY_SECONDS, end_by, number)
    signal.raise_signal(signal.SIGINT)


def end_by(number: int) -> None:
    """End this process by a signal, so that its parent reads the signal from its exit status."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
