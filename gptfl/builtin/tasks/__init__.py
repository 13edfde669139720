"""gptfl's own tasks over given data: the paper's six, and any JSON lines."""

from gptfl.builtin.tasks.classification import BoolQ, Rte, Sst2
from gptfl.builtin.tasks.generation import CnnDailyMail, WebNlg, Wmt16DeEn
from gptfl.builtin.tasks.lines import JsonLines

__all__ = ["BoolQ", "CnnDailyMail", "JsonLines", "Rte", "Sst2", "WebNlg", "Wmt16DeEn"]
