"""Trained styles: their networks, their files, and how to find them."""
