"""Where the examples of a recording come from: a task, a mixture of some, or data of one's own."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from gptfl.core import user_path
from gptfl.errors import DataError, UsageError
from gptfl.options.base import places
from gptfl.options.recording import DataOptions, DesignOptions
from gptfl.options.rows import RowOptions
from gptfl.plugins.interfaces import Task
from gptfl.plugins.registry import Registry
from gptfl.store.jsonlines import read_plain
from gptfl.tasks.mixture import Mixture, open_task, sizes_of
from gptfl.tasks.own_data import DataRequest, OwnData

POOL, TEST = 200, 200
"""The pool's examples and those to test on, unless given; fewer where there are fewer."""
MAX_TEMPLATE = 2**18
"""Bytes of a chat template."""
OF_TOKENS = ("end_token", "chat_template")
"""Options of rows that don't say which they are."""


def open_source(registry: Registry, examples: DataOptions, rows: RowOptions) -> Task | Mixture:
    """The task, mixture or own data that options name. Raises ``UsageError`` where they don't go together."""
    data = None if examples.data is None else user_path(examples.data)
    if examples.task is None:
        return OwnData(request(data, rows))
    for place in places(RowOptions):
        if place.name not in OF_TOKENS and getattr(rows, place.name) is not None:
            raise UsageError(
                f"{place.flag} is of data of your own, and --task {examples.task} has its own rows",
                "leave one of them out",
            )
    return open_task(registry, examples.task, data)


def request(data: Path | None, rows: RowOptions) -> DataRequest:
    """Which rows of one's own are meant."""
    given = {one.name: getattr(rows, one.name) for one in fields(DataRequest) if hasattr(rows, one.name)}
    for name in ("train", "eval"):
        given[name] = None if given[name] is None else user_path(given[name])
    return DataRequest(data=data, **given, as_chat=rows.chat_template is not None)


def count_examples(options: DesignOptions, tasks: int, source: Task | Mixture) -> tuple[int, int, tuple[str, ...]]:
    """How large the pool and the test set are, and a line where there are fewer or more examples than usual."""
    if options.per_task is not None and options.pool is not None:
        raise UsageError(
            f"--pool {options.pool} and --per-task {options.per_task} both say how large the pool is",
            "give one of them",
        )
    pool = options.pool if options.per_task is None else options.per_task * tasks
    there = None if pool is not None and options.test is not None else sizes_of(source)
    counts, fewer, more = [], [], []
    for flag, count, usual, place in (("--pool", pool, POOL, 0), ("--test", options.test, TEST, 1)):
        most = usual if there is None else min(usual, there[place])
        counts.append(most if count is None else count)
        if count is None and there is not None and there[place] < usual:
            fewer.append(f"{flag} {most}")
        elif count is None and there is not None and there[place] > usual and isinstance(source, OwnData):
            more.append(f"{flag} {most} of {there[place]:,}")
    notes = (f"took {' and '.join(fewer)}, which is all there are",) if fewer else ()
    return counts[0], counts[1], (*notes, *((f"took {' and '.join(more)}; give them for more",) if more else ()))


def token_settings(rows: RowOptions, source: Task | Mixture) -> dict[str, Any]:
    """What the options of rows say of tokens: ``end_token`` and ``chat_template``, of ``TrainerSettings``.

    Conversations have their end token by default, and a recording of some says so.
    """
    chat = isinstance(source, OwnData) and source.rows.chat
    ends = chat or None if rows.end_token is None else rows.end_token
    template = template_of(rows.chat_template, chat)
    return {"end_token": None if ends is False and not chat else ends, "chat_template": template}


def template_of(path: str | Path | None, chat: bool) -> str | None:
    """The chat template in a file, None where none is named.

    Args:
        path: the file.
        chat: whether the rows are conversations.

    Raises ``UsageError`` for a template of rows that are none, and as ``read_template`` does.
    """
    if path is None:
        return None
    if not chat:
        raise UsageError("--chat-template is of conversations, and the rows are none", "leave it out")
    return read_template(path)


def read_template(path: str | Path) -> str:
    """The chat template in a file. Raises ``DataError`` for what is no small text."""
    file = user_path(path)
    try:
        return read_plain(file, MAX_TEMPLATE, "--chat-template").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"--chat-template {file} is not UTF-8 text", "save the file as UTF-8") from error
