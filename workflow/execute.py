"""Run one notebook with papermill, refusing parameters that it does not declare.

Usage: python -m workflow.execute notebooks/NAME.ipynb OUT.ipynb '{"MODEL": "…"}'
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import papermill
from jupyter_client.manager import AsyncKernelManager
from papermill.exceptions import PapermillExecutionError
from traitlets import default

from sycophancy.errors import InputError, unknown
from workflow import inputs, stopping
from workflow.grid import ROOT


class SocketKernelManager(AsyncKernelManager):
    """Talks to the kernel over Unix sockets: no ports to clash, nothing others can listen to."""

    # Seconds from asking a kernel to end until it is killed. It is interrupted at once, and then
    # finishes the step in hand and saves: jupyter_client's five are too few for that.
    shutdown_wait_time = stopping.KERNEL_SECONDS
    process: ClassVar[subprocess.Popen[bytes] | None] = None  # the kernel that was started last

    @default("transport")
    def _transport(self) -> str:
        return "ipc"

    @default("ip")
    def _ip(self) -> str:
        """Where the sockets lie: a folder for each kernel, gone with its manager.

        jupyter_client's own default is a name in the working folder, free when it is looked up:
        two kernels that start in the same moment take the same one.
        """
        self._sockets = TemporaryDirectory(prefix="kernel-")
        return str(Path(self._sockets.name) / "ipc")

    async def _async_post_start_kernel(self, **options: Any) -> None:
        """Keep hold of the process: its exit status says which signal ended it."""
        await super()._async_post_start_kernel(**options)
        SocketKernelManager.process = getattr(self.provisioner, "process", None)


def execute(notebook: Path, executed: Path, parameters: dict[str, Any]) -> None:
    """Run `notebook` with `parameters`, writing the executed copy cell by cell.

    The kernel works in the repository's folder wherever this is called from, so that OUT_DIR and
    the run folders in the parameters may be relative to it.

    Raises InputError for a parameter it does not declare (papermill only logs it), and with the
    one sentence of the cell that failed where it failed for an InputError of its own; Stopped where
    a signal interrupted the kernel or ended it.
    """
    if not notebook.is_file():
        raise InputError(f"There is no notebook {notebook}: check the path.")
    declared = papermill.inspect_notebook(escape_braces(notebook))
    for name in parameters:
        if name not in declared:
            raise unknown(f"parameter of {notebook.stem}", name, declared)
    executed.parent.mkdir(parents=True, exist_ok=True)
    logging.getLogger("papermill").setLevel(logging.WARNING)
    try:
        papermill.execute_notebook(
            escape_braces(notebook),
            escape_braces(executed),
            parameters=parameters,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            cwd=str(ROOT),
            kernel_manager_class=SocketKernelManager,
        )
    except PapermillExecutionError as error:
        if error.ename == "InputError":
            raise InputError(error.evalue) from None
        if error.ename == "KeyboardInterrupt":
            raise stopping.Stopped(kernel_ended_by() or signal.SIGINT) from None
        raise
    except RuntimeError as error:  # of a kernel that is gone
        if number := kernel_ended_by():
            raise stopping.Stopped(number) from error
        raise


def kernel_ended_by() -> int | None:
    """Return the number of the signal that ended the kernel, None where it ended otherwise."""
    process = SocketKernelManager.process
    code = process.poll() if process is not None else None
    return -code if code is not None and code < 0 else None


def escape_braces(path: Path) -> str:
    """Return a path as papermill takes it: it formats paths, and would read {word} as a field."""
    return str(path).replace("{", "{{").replace("}", "}}")


def cell_name(notebook: Path, executed: Path) -> str:
    """Return the key of the cell whose run folder the copy lies in, else the notebook's name."""
    folder = executed.absolute().parent.name
    return folder if folder.partition("@")[0] == notebook.stem else notebook.stem


def main(arguments: list[str]) -> None:
    stopping.end_with_parent()
    notebook, executed = map(Path, arguments[:2])
    name = cell_name(notebook, executed)
    parameters, base = json.loads(arguments[2]), executed.absolute().parent.parent
    try:
        before = inputs.stamps(parameters, base, ROOT)
        execute(notebook, executed, parameters)
        inputs.remember_changes(before, inputs.stamps(parameters, base, ROOT), executed.parent)
    except stopping.Stopped as stopped:
        stopping.say(f"{name}: stopped by {stopped}")
        sys.exit(stopped.status)
    except InputError as error:
        sys.exit(f"{name}: {error}")
    except OSError as error:
        sys.exit(f"{name}: {executed} could not be written ({error}): make room and run again.")
    except PapermillExecutionError as error:
        last = "\n".join(error.traceback[-3:])
        sys.exit(
            f"{name} failed in cell {error.exec_count}: {error.ename}: "
            f"{error.evalue}\n{last}\nThe executed copy is {executed}."
        )
    finally:  # a cell that has ended is not shown as running
        (executed.parent / "progress.json").unlink(missing_ok=True)


if __name__ == "__main__":
    stopping.raise_on_signals()
    main(sys.argv[1:])
