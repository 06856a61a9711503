"""Stylising photos: `Stylizer`, stroke size, blends, and folders of photos."""
