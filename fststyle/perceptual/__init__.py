"""VGG, the perceptual loss, optimising one photo, and evaluating a network."""
