"""A trained style: its network, its file, and where it is found."""
