"""Converting image files to arrays and back. This package does not depend on styles."""
