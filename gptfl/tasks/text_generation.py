"""WebNLG, WMT16 German to English and CNN/Daily Mail: free text to write."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from gptfl.core import Example
from gptfl.tasks import instructions
from gptfl.tasks.base import DataTask
from gptfl.tasks.hub_files import HubFile
from gptfl.tasks.rows import TaskRow, shown, tidy

WEBNLG = "GEM/web_nlg"
# The repository itself holds a loading script only. No revision of its Parquet conversion is known
# to stay, so the conversion's branch is read, and what commit it was is kept with the recording.
WEBNLG_REVISION = "refs/convert/parquet"
WMT16 = "wmt/wmt16"
WMT16_REVISION = "41d8a4013aa1489f28fea60ec0932af246086482"
CNN = "abisee/cnn_dailymail"
CNN_REVISION = "96df5e686bee6baa90b8bee7c28b81fa3fa6223d"
_WORD_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def linearise(triples: Sequence[Sequence[str]]) -> str:
    """Subject, predicate and object of each triple on a line of its own, as words."""
    return "\n".join(f"- {_words(s)} | {_words(_WORD_BREAK.sub(' ', p)).lower()} | {_words(o)}" for s, p, o in triples)


def _words(name: str) -> str:
    return tidy(name.replace("_", " ").strip().strip('"'))


class WebNlg(DataTask):
    """WebNLG: say a set of facts in a sentence or two. The target is the first reference."""

    name = "webnlg"
    learning_rate = 1e-6
    expected = "triples (a list of [subject, predicate, object]) and references (a list of texts)"
    licence = "CC BY-NC-SA 4.0"
    files: ClassVar = {
        split: HubFile(
            WEBNLG, WEBNLG_REVISION, f"en/{name}/0000.parquet", ("input", "target", "references", "category")
        )
        for split, name in (("pool", "train"), ("test", "test"))
    }

    wording = "Facts:\n{facts}\nThe same in plain words:"
    templates = instructions.WEBNLG

    def parts(self, row: TaskRow) -> Mapping[str, str]:
        """The triples, a line each."""
        return {"facts": linearise(_triples(row))}

    def example(self, row: TaskRow, id: str) -> Example:
        """The example that a row holds; all references are in ``fields``."""
        triples = _triples(row)
        references = [tidy(text) for text in row.texts("references")]
        fields: dict[str, Any] = {"triples": triples, "references": references}
        if isinstance(row.values.get("category"), str):
            fields["category"] = row.values["category"]
        return Example(id, self.prompt(row), f" {references[0]}", fields=fields)

    def from_hub(self, rows: Sequence[TaskRow]) -> list[TaskRow]:
        """Gather the rows of one set of facts (the Hub has one for each way of saying it)."""
        gathered: dict[tuple[str, ...], TaskRow] = {}
        for row in rows:
            lines = row.texts("input")
            key = (*lines, str(row.values["category"]))
            if key not in gathered:
                triples = [line.split(" | ") for line in lines]
                gathered[key] = row.having(triples=triples, references=[], id=len(gathered))
            known = gathered[key].values["references"]
            for text in (row.values["target"], *(row.values["references"] or [])):
                if text and text not in known:
                    known.append(text)
        return list(gathered.values())


def _triples(row: TaskRow) -> list[list[str]]:
    triples = row.get("triples")
    if not isinstance(triples, list) or not triples:
        raise row.wrong(f"field 'triples' is {shown(triples)}, not a list of triples")
    for index, triple in enumerate(triples):
        if not isinstance(triple, list) or len(triple) != 3:
            raise row.wrong(f"field 'triples', item {index} is {shown(triple)}, not [subject, predicate, object]")
        for part in triple:
            row.checked(part, f"field 'triples', item {index}")
    return triples


class Wmt16DeEn(DataTask):
    """WMT16 German to English.

    From the Hub: newstest2015 (its validation split, 2,169 pairs) is the pool and newstest2016
    (2,999 pairs) the test set; the training split's 4.5 million pairs are left alone.
    """

    name = "wmt16_de_en"
    expected = "de and en (texts)"
    licence = "none stated; WMT news test sets, for research"
    files: ClassVar = {
        split: HubFile(WMT16, WMT16_REVISION, f"de-en/{name}-00000-of-00001.parquet", ("translation",))
        for split, name in (("pool", "validation"), ("test", "test"))
    }

    wording = "Translate into English.\nGerman: {german}\nEnglish:"
    templates = instructions.WMT16_DE_EN

    def parts(self, row: TaskRow) -> Mapping[str, str]:
        """The German sentence."""
        return {"german": row.text("de")}

    def example(self, row: TaskRow, id: str) -> Example:
        """The example that a row holds."""
        english = row.text("en")
        return Example(id, self.prompt(row), f" {english}", fields={"references": [english]})

    def from_hub(self, rows: Sequence[TaskRow]) -> list[TaskRow]:
        """A row's one column holds both languages."""
        return [row.having(**row.values["translation"], id=number) for number, row in enumerate(rows)]


class CnnDailyMail(DataTask):
    """CNN/Daily Mail: sum up a news article in a few sentences.

    From the Hub: the validation split (13,368 articles) is the pool; the training split's 287,113 are left alone.
    """

    name = "cnn_dailymail"
    expected = "article and highlights (texts)"
    licence = "Apache 2.0 for the collection; the articles are CNN's and the Daily Mail's, for research"
    files: ClassVar = {
        split: HubFile(CNN, CNN_REVISION, f"3.0.0/{name}-00000-of-00001.parquet", ("article", "highlights", "id"))
        for split, name in (("pool", "validation"), ("test", "test"))
    }
    # The article first: where it is too long, its beginning is lost and not what is asked.
    wording = "Article: {article}\nThe article in a few sentences:"
    templates = instructions.CNN_DAILYMAIL

    def parts(self, row: TaskRow) -> Mapping[str, str]:
        """The article."""
        return {"article": row.text("article")}

    def example(self, row: TaskRow, id: str) -> Example:
        """The example that a row holds; its highlights, one after another, are the target."""
        highlights = row.text("highlights")
        return Example(id, self.prompt(row), f" {highlights}", fields={"references": [highlights]})

    def from_hub(self, rows: Sequence[TaskRow]) -> list[TaskRow]:
        """The Hub's columns have the names of the local fields."""
        return list(rows)
