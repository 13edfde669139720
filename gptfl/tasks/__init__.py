"""gptfl's own tasks over given data: the paper's six, and any JSON lines."""

from gptfl.tasks.classification import BoolQ, Rte, Sst2
from gptfl.tasks.jsonl import JsonLines
from gptfl.tasks.text_generation import CnnDailyMail, WebNlg, Wmt16DeEn

__all__ = ["BoolQ", "CnnDailyMail", "JsonLines", "Rte", "Sst2", "WebNlg", "Wmt16DeEn"]
