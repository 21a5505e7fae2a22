"""Example sessions that come with llamachat, in the portable JSON form."""
