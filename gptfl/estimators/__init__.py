"""The estimators that gptfl brings, and the mathematics that several of them share."""
