"""Perceptual loss with VGG features, optimisation of a single photo, and network evaluation."""
