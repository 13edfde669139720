"""Every option once: its name, help, bounds and default. The command line, Python and the settings take them from here."""
