"""gptfl's own encoders: embeddings of texts, what a causal model makes of them, and recorded gradients."""

from gptfl.encoders.answer_state import AnswerState
from gptfl.encoders.causal import CausalLm
from gptfl.encoders.gradients import Gradients
from gptfl.encoders.minilm import MiniLm
from gptfl.encoders.tfidf import TfidfSvd

__all__ = ["AnswerState", "CausalLm", "Gradients", "MiniLm", "TfidfSvd"]
