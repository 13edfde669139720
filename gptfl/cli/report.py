"""``gptfl report``."""

from gptfl.cli import console
from gptfl.cli.adapter import with_options
from gptfl.options.report import ReportOptions


@with_options(ReportOptions)
def command(options: ReportOptions) -> None:
    """Make one HTML page of a recording and its simulator: what-if switches, influences, suspects and trust.

    The page opens from disk and fetches nothing. It holds the texts of the recording.

    Example: `gptfl report --output report.html`
    """
    from gptfl.api.report import report_with

    console.warn_of_problems()
    with console.progress_bar() as progress:
        result = report_with(options, progress=progress)
    for text in result.notes:
        console.note(text)
    if options.as_json:
        missing = [{"what": what, "command": command_} for what, command_ in result.missing]
        console.say_json(
            {"page": str(result.path), "bytes": result.size, "parts": list(result.parts), "missing": missing}
        )
        return
    console.say(f"{result.path}: {', '.join(result.parts) or 'the examples alone'} ({result.size / 2**20:.1f} MiB)")
    for what, command_ in result.missing:
        console.say(f"not in it: {what} ({command_})")
