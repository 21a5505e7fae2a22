"""The themes that come with llamachat: one TOML file each."""
