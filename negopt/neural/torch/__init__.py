"""Train PyTorch networks: a module as an objective, and an optimizer as those of torch.optim."""

try:
    from negopt.neural.torch._module_objective import TorchObjective
    from negopt.neural.torch._optimizer import Optimizer
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError(
        "negopt.neural.torch needs PyTorch: pip install 'negopt[torch]'.", name="torch"
    ) from None

__all__ = ["Optimizer", "TorchObjective"]
