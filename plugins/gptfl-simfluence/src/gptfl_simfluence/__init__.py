"""Simfluence as estimators for gptfl."""
