"""Chats as files: written in forms that people and programs read, and taken in from elsewhere."""
