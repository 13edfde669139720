"""gptfl's own tasks, encoders, metrics, estimators and executor, registered like anyone else's."""
