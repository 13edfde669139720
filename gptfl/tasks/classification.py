"""RTE, SST-2 and BoolQ: two classes each, answered in a word.

The Hub's train split is the pool; its validation split is the test set, for GLUE keeps the labels
of its own test splits to itself.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from gptfl.core import Example
from gptfl.tasks import instructions
from gptfl.tasks.base import DataTask
from gptfl.tasks.hub_files import HubFile
from gptfl.tasks.rows import TaskRow, tidy

GLUE = "nyu-mll/glue"
GLUE_REVISION = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"
BOOLQ = "google/boolq"
BOOLQ_REVISION = "35b264d03638db9f4ce671b711558bf7ff0f80d5"
SPLITS = {"pool": "train", "test": "validation"}


def _files(repo: str, revision: str, folder: str, columns: tuple[str, ...]) -> dict[str, HubFile]:
    return {
        split: HubFile(repo, revision, f"{folder}/{name}-00000-of-00001.parquet", columns)
        for split, name in SPLITS.items()
    }


class _Classification(DataTask):
    answers: ClassVar[tuple[str, ...]]

    def example(self, row: TaskRow, id: str) -> Example:
        """The example that a row holds."""
        label = row.label("label", len(self.answers))
        return Example(id, self.prompt(row), self.answers[label], self.answers, label)


class Rte(_Classification):
    """Recognising textual entailment (GLUE): does one text follow from another?"""

    name = "rte"
    expected = "premise, hypothesis (texts) and label (0 entailment, 1 not)"
    answers = (" yes", " no")
    licence = "none stated by GLUE; built from the PASCAL RTE challenges, for research"
    files: ClassVar = _files(GLUE, GLUE_REVISION, "rte", ("sentence1", "sentence2", "label", "idx"))

    wording = "Text: {premise}\nClaim: {hypothesis}\nDoes the claim follow from the text?"
    templates = instructions.RTE

    def parts(self, row: TaskRow) -> Mapping[str, str]:
        """Text and claim."""
        return {"premise": row.text("premise"), "hypothesis": row.text("hypothesis")}

    def from_hub(self, rows: Sequence[TaskRow]) -> list[TaskRow]:
        """GLUE's sentence1 is the premise, sentence2 the hypothesis."""
        return [row.renamed(premise="sentence1", hypothesis="sentence2", label="label", id="idx") for row in rows]


class Sst2(_Classification):
    """Stanford sentiment treebank (GLUE): does a film review praise or blame?"""

    name = "sst2"
    expected = "sentence (text) and label (0 negative, 1 positive)"
    answers = (" negative", " positive")
    licence = "none stated; Stanford Sentiment Treebank, for research"
    files: ClassVar = _files(GLUE, GLUE_REVISION, "sst2", ("sentence", "label", "idx"))

    wording = "Film review: {sentence}\nThe reviewer's opinion of the film is"
    templates = instructions.SST2

    def parts(self, row: TaskRow) -> Mapping[str, str]:
        """The review."""
        return {"sentence": row.text("sentence")}

    def from_hub(self, rows: Sequence[TaskRow]) -> list[TaskRow]:
        """GLUE's columns have the names of the local fields."""
        return [row.renamed(sentence="sentence", label="label", id="idx") for row in rows]


class BoolQ(_Classification):
    """BoolQ: a yes-or-no question about a passage."""

    name = "boolq"
    expected = "question, passage (texts) and label (0 no, 1 yes)"
    answers = (" no", " yes")
    licence = "CC BY-SA 3.0"
    files: ClassVar = _files(BOOLQ, BOOLQ_REVISION, "data", ("question", "passage", "answer"))

    # The passage first, because what does not fit is cut from the front.
    wording = "{passage}\nQuestion: {question}\nAnswer:"
    templates = instructions.BOOLQ

    def parts(self, row: TaskRow) -> Mapping[str, str]:
        """The passage and the question, which ends in a question mark."""
        question = tidy(row.raw_text("question")).removesuffix("?")
        return {"passage": row.text("passage"), "question": f"{question}?"}

    def from_hub(self, rows: Sequence[TaskRow]) -> list[TaskRow]:
        """BoolQ's answer, true or false, is the label."""
        return [
            row.renamed(question="question", passage="passage", label="answer").having(id=number)
            for number, row in enumerate(rows)
        ]
