"""Training one network for one style, with Lightning and Hydra."""
