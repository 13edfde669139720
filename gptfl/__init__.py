"""Simulate how fine-tuning a GPT model on chosen examples moves every test example's metrics."""
