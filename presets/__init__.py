"""The presets that come with llamachat: one TOML file each."""
