"""The settings of ``collect`` that metrics of generated text go by."""

from gptfl.errors import UsageError

GENERATION = frozenset({"generate_every", "generate_tokens", "decode"})
"""What a recording keeps of them; one without such metrics keeps none."""
DECODINGS = ("greedy", "nucleus")


def check_generation(
    generates: bool, decode: str, every: int | None, tokens: int | None, record_every: int
) -> int | None:
    """How often to generate; None is at every recorded step.

    Raises ``UsageError`` for an unknown way of decoding, for an interval that meets steps which aren't recorded,
    and for options that would change nothing because no metric (``generates``) reads generated text.
    """
    if decode not in DECODINGS:
        raise UsageError(f"--decode {decode!r} is unknown", f"use {' or '.join(DECODINGS)}")
    given = {"--generate-every": every, "--generate-tokens": tokens, "--decode": decode if decode != "greedy" else None}
    flag, value = next(((flag, value) for flag, value in given.items() if value is not None), ("", None))
    if not generates and flag:
        raise UsageError(
            f"{flag} {value} changes nothing: no metric reads generated text",
            "leave it out, or add --metric bleu or --metric rougeL",
        )
    if every is None or every == record_every:
        return None
    if every % record_every:
        raise UsageError(
            f"--generate-every {every} is no multiple of --record-every {record_every}",
            f"give {record_every * max(1, round(every / record_every))}, or another multiple",
        )
    return every
