"""Photo stylisation: `Stylizer`, brush-stroke size, style blends, and folders of photos."""
