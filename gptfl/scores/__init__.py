"""How well a simulated trajectory matches the recorded one."""
