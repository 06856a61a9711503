"""``python -m fststyle.training style=NAME``: the same as ``python train.py``."""

from hydra.core.global_hydra import GlobalHydra

from fststyle.training.train import main

if __name__ == "__main__":
    GlobalHydra.instance().clear()
    main()
