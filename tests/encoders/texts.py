"""Short texts to embed."""

from gptfl.core import Example


def examples(prefix, count):
    words = ("sun", "moon", "sea", "land")
    return [
        Example(f"{prefix}{i}", f"who sees the {words[i % 4]} " * (i + 1) + f"{prefix}{i} ?", (" yes", " no")[i % 2])
        for i in range(count)
    ]
