"""Running style files with OpenVINO or torch, on whole photos or tile by tile."""
