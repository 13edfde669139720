"""The paper's simulator: a Markov recurrence whose factors come from example vectors."""
