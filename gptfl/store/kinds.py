"""The kinds of file that gptfl writes: how messages call them, who makes and who takes them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileKind:
    """One kind of file and the newest format version that this gptfl writes and reads."""

    name: str
    noun: str
    made_by: str
    taken_by: str
    format_version: int
    among_others: bool = False
    """Whether all files of a folder are read together."""


DYNAMICS = "gptfl-dynamics"
FEATURES = "gptfl-features"
SIMULATOR = "gptfl-simulator"
PREDICTIONS = "gptfl-predictions"
RUN = "gptfl-run"

KINDS = {
    kind.name: kind
    for kind in (
        FileKind(
            DYNAMICS, "recording", "gptfl collect --model MODEL --task TASK", "gptfl featurize, fit and compare", 1
        ),
        FileKind(FEATURES, "features file", "gptfl featurize", "gptfl fit and compare", 1),
        FileKind(SIMULATOR, "simulator", "gptfl fit", "gptfl simulate", 1),
        FileKind(PREDICTIONS, "predictions file", "gptfl simulate", "gptfl inspect", 1),
        FileKind(RUN, "run of a recording", "gptfl collect", "the recording that its folder is named after", 2, True),
    )
}
