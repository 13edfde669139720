"""Parts for gptfl by Acme."""
