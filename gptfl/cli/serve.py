"""``gptfl serve``."""

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.options.report import ServeOptions


@with_options(ServeOptions)
def command(options: ServeOptions) -> None:
    """Show the page of gptfl report in a browser of this machine, for pools too large for a file.

    Only this machine can open it, by the address printed, which holds a token. Nothing is written; Ctrl-C ends it.

    Example: `gptfl serve --no-comparison`
    """
    from gptfl.api.serve import answer_until_stopped, page_server

    console.warn_of_problems()
    with console.progress_bar() as progress:
        server = page_server(options, progress)
    with server:
        for text in server.page.parts.notes:
            console.note(text)
        console.say(f"{server.url}\nopen it in a browser of this machine; Ctrl-C ends it")
        console.flush()
        answered = answer_until_stopped(server)
    console.say(f"stopped after {answered} answers; nothing was written")
