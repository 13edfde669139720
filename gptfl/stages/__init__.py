"""The five stages, and what goes with them, as functions: each reads files, writes one, prints nothing."""
