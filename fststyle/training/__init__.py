"""Train one network for one style, using Lightning and Hydra."""
