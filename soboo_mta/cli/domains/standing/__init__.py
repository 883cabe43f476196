"""How domains stand and stood, in words, tables and JSON."""
