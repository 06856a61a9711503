"""Running a style file, with OpenVINO or torch, whole or in tiles."""
