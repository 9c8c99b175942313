"""Train PyTorch networks: a module as an objective, and an optimizer as those of torch.optim."""

from negopt.neural.torch._objective import TorchObjective
from negopt.neural.torch._optimizer import Optimizer

__all__ = ["Optimizer", "TorchObjective"]
