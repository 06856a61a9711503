"""The commands of the ``fststyle`` command line."""
