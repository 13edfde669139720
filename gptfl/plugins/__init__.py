"""What a plugin author imports: the interfaces, the hooks, the registry and checks of settings."""
