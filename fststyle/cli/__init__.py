"""The commands of `fststyle`."""
