"""The ``gptfl`` command, and ``python -m gptfl``: loads the command line, and outlasts signals and lost streams."""

import sys

from gptfl import interruption

UNPRINTED = 5
"""The exit code where the results couldn't be printed, as of every resource that stands in the way."""


def run() -> None:
    """Run the command line of this process.

    Requests to stop are watched for from here on, while libraries are loaded, too.
    """
    interruption.watch()
    from gptfl.cli import streams

    streams.hold_places()
    out, _ = streams.outlast()
    code: object = 1
    try:
        from gptfl.cli.main import run as command_line

        command_line()
    except SystemExit as done:
        code = done.code or 0
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: nothing half-written was left\n")
        code = interruption.exit_code()
    finally:
        interruption.unwatch()
    sys.stdout.flush()
    if out.failure is not None and code == 0:
        why = out.failure.strerror or str(out.failure)
        sys.stderr.write(f"error: stdout can't be written ({why}): send it elsewhere; only what was printed is lost\n")
        code = UNPRINTED
    sys.exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    run()
