"""One self-contained HTML page of a recording and its simulator."""
