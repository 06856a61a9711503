"""Stylising videos: reading, writing, and keeping frames steady."""
