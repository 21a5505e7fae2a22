"""The full-screen chat: the Textual application, its screens and widgets."""
