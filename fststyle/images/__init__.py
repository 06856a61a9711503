"""Image files to arrays and back. Knows nothing about styles."""
