"""Conversations, prompt formats, the session store, and the headless chat session that owns them."""
