"""Video stylisation: reading, writing, and reducing flicker between frames."""
