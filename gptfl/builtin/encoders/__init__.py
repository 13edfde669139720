"""gptfl's own encoders: sentence embeddings, hidden states of a causal model, and TF-IDF."""

from gptfl.builtin.encoders.causal import CausalLm
from gptfl.builtin.encoders.minilm import MiniLm
from gptfl.builtin.encoders.tfidf import TfidfSvd

__all__ = ["CausalLm", "MiniLm", "TfidfSvd"]
