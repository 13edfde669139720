"""gptfl's own encoders: embeddings of texts, what a causal model makes of them, and recorded gradients."""

from gptfl.builtin.encoders.answers import AnswerState
from gptfl.builtin.encoders.causal import CausalLm
from gptfl.builtin.encoders.gradients import Gradients
from gptfl.builtin.encoders.minilm import MiniLm
from gptfl.builtin.encoders.tfidf import TfidfSvd

__all__ = ["AnswerState", "CausalLm", "Gradients", "MiniLm", "TfidfSvd"]
