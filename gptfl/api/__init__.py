"""The verbs of gptfl: each reads files, computes, and writes what was asked for."""
