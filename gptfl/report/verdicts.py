"""What is known of the rows of a ranking, in a line and for programs."""

from typing import Any

from gptfl.influence.verdicts import HALF, HARMFUL, HELPFUL, MOST, NEARLY_ALL, UNCLEAR, Verdicts


def verdict_counts(verdicts: Verdicts) -> dict[str, Any]:
    """How many rows have which verdict, and how many more runs are expected to settle the rest."""
    found: dict[str, Any] = {
        "fdr": verdicts.fdr,
        HELPFUL: verdicts.count(HELPFUL),
        HARMFUL: verdicts.count(HARMFUL),
        "unclear": verdicts.count(UNCLEAR),
    }
    if verdicts.more_runs is not None:
        found["more_runs"] = {f"{share:g}": count for share, count in verdicts.more_runs.items()}
    return found


def verdict_line(verdicts: Verdicts) -> str:
    """How many rows help, how many harm, and what would settle the others."""
    open_ = verdicts.count(UNCLEAR)
    line = f"{verdicts.count(HELPFUL)} helpful, {verdicts.count(HARMFUL)} harmful"
    rest = f"; the other {open_} can't be told" if open_ else ""
    line += f"{rest} at a false discovery rate of {verdicts.fdr:g} (--fdr)"
    if not open_ or verdicts.more_runs is None:
        return f"{line}."
    half, most = (verdicts.more_runs[share] for share in (HALF, NEARLY_ALL))
    if half is None:
        return f"{line}. More than {MOST} times as many runs would be needed to settle half of these."
    until = "still more" if most is None else f"about {most}"
    return (
        f"{line}. About {half} more runs like the recorded would settle half of these, {until} nine in ten, if each tells "
        "as much as one of those recorded did on average."
    )
