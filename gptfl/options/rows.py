"""The options of data of one's own, which several commands read."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from gptfl.options.base import option, share

OWN = "Data of your own"
File = str | Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOptions:
    """Which rows are one's own data, and how they are read (docs/data.md)."""

    PANEL: ClassVar = OWN
    train: File = option(None, "Rows to train on, instead of --data.", metavar="FILE", shown=False, identity=False)
    eval: File = option(None, "Rows to test on.", metavar="FILE", shown=False, identity=False)
    eval_share: float | None = option(
        None,
        "Without rows to test on, keep this share of the others for it, chosen by content.",
        metavar="SHARE",
        shown="0.1",
        bound=share("give the share of the rows to test on, between 0 and 1, as in 0.1"),
        identity=False,
    )
    fields: str | None = option(
        None,
        "Which field of a row is which, as in prompt=question,target=answer.",
        metavar="NAME=FIELD,...",
        shown="recognised: prompt and target or completion, messages, conversations, instruction and output, text",
        identity=False,
    )
    loss_on: str | None = option(
        None,
        "What of a conversation is learned and measured: assistant (all it says), last (its last message), all, or "
        "the name of a field of messages that is true where to learn.",
        metavar="WHICH",
        shown="assistant",
        identity=False,
    )
    chat_template: File = option(
        None, "Chat template (Jinja) for conversations.", metavar="FILE", shown="the tokenizer's"
    )
    end_token: bool | None = option(
        None,
        "Whether the token that ends an answer is a part of the target.",
        flag="--end-token/--no-end-token",
        shown="of conversations",
    )
    dataset: str | None = option(None, "A data set of the Hub, by name.", metavar="NAME", shown=False, identity=False)
    dataset_config: str | None = option(
        None, "The data set's configuration.", metavar="NAME", shown="its only one", identity=False
    )
    split: str | None = option(None, "The data set's split to train on.", metavar="NAME", shown="train", identity=False)
    eval_split: str | None = option(
        None, "The data set's split to test on.", metavar="NAME", shown="--eval-share of the other", identity=False
    )
    revision: str | None = option(
        None, "The data set's branch, tag or commit.", metavar="NAME", shown="main", identity=False
    )
