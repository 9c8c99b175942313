"""An optimizer in the style of torch.optim: the solver behind ``step(closure)``."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypedDict

import torch

from negopt.core.options import check_choice, user_level
from negopt.core.types import State, Status
from negopt.methods import Method
from negopt.neural.torch._arguments import GROUP, check, fill, method_of, settled
from negopt.neural.torch._frozen import Buffers, RandomNumbers
from negopt.neural.torch._saved import Saved, packed, restored
from negopt.neural.torch._steps import Closure, advance
from negopt.neural.torch._vector import Parameters


class StateDict(TypedDict, total=False):
    """What ``state_dict`` returns."""

    state: Saved
    param_groups: list[dict[str, object]]


class Optimizer(torch.optim.Optimizer):  # type: ignore[misc]
    """Any method of the table as a ``torch.optim`` optimizer.

    In a training loop written for ``torch.optim.LBFGS`` one line changes: arguments that
    have a counterpart there have its name, default and meaning.

    Parameters
    ----------
    params : iterable of torch.nn.Parameter, or of (str, torch.nn.Parameter)
        All in one group, of one type (float32 or float64) and on one device.  Names need
        torch 2.6.
    method : str or Method, optional
        One of ``negopt.METHODS``.  By default ``"lqn-tr"``, up to 300 parameters (frozen ones
        included) ``"dqn-wolfe-pm"``, as in `negopt.minimize`.  With `history_size` always
        ``"lqn-tr"``.
    lr : float, optional
        Learning rate of the methods that have one (``"gd"``, ``"adam"``, ``"sfn-series"``),
        by default their own; the others find the length of their steps, and warn of a value
        other than 1.  With 0 `step` evaluates the closure and leaves the parameters.
    max_iter : int, default 20
        Most iterations in one call of `step`.
    max_eval : int, optional
        Most calls of the closure in one call of `step`, never exceeded.  By default the
        larger of ``max_iter * 5 // 4`` and 25, so that one iteration has room for a line
        search; without bound for methods that require Hessian products (note 5).
    tolerance_grad : float, default 1e-7
        A call of `step` ends where no entry of the gradient is larger.
    tolerance_change : float, default 1e-9
        A call of `step` ends after a step of no more than this length, or a smaller change
        of the loss.
    history_size : int, optional
        Pairs that a limited-memory method keeps (its option ``maxcor``).  By default 100 for
        ``"lqn-tr"`` and ``"lbfgs-wolfe"``, as in ``torch.optim.LBFGS`` (docs/pinn.md says
        why), and the method's own for all others.
    line_search_fn : {None, "strong_wolfe"}, optional
        "strong_wolfe" makes a method with a Wolfe search require the strong conditions; trust
        regions ignore it.
    module : torch.nn.Module, optional
        Its buffers (running statistics of batch norm) then advance once for each accepted
        step.  Without it they advance at each call of the closure, as with other optimizers.
    **options
        Further options of the method (`negopt.show_options`), and of the run: ``certify``
        (here off by default), ``certify_products``, ``max_escapes``, ``rng``, ``ftarget``,
        ``maxtime``, ``norm``, ``grtol``.

    Attributes
    ----------
    method : Method

    Raises
    ------
    ValueError
        For several parameter groups or parameters of several types or devices, for an
        argument out of range, and for an option that the method does not have.

    Notes
    -----
    1. `step` begins with one call of the closure where the parameters are: the data may have
       changed since the last step.  The curvature pairs and the radius or step length are kept
       from step to step; differences of gradients are taken between points of one step, so on
       one batch.
    2. All calls of the closure in one step begin from the same state of torch's generators:
       a dropout mask, or a batch drawn in the closure by torch, is the same in all of them.
    3. The parameters end at the lowest point of the step, as a rule the last one accepted,
       and their ``grad`` is its gradient.  (The baselines end at the last one: their loss may
       rise.)  A trial whose loss or gradient is not finite is rejected.
    4. An exception of the closure passes through; the parameters are then those of the last
       accepted point.
    5. Methods that need Hessian products take differences of gradients, each a call of the
       closure (``"sfn-exact"`` and ``"new-q-newton"`` n an iteration): for exact products use
       `TorchObjective` with `negopt.minimize`.
    6. The parameters with ``requires_grad`` are trained.  When these change (a layer is
       unfrozen), or have moved to another type or device, the memory of curvature begins anew,
       with a warning.

    **Guarantee** (``tests/neural/test_torch_optimizer.py``): a run that is saved by
    `state_dict` and loaded continues bit for bit on a CPU; `max_eval` is never exceeded.

    Examples
    --------
    >>> import torch
    >>> from negopt.neural.torch import Optimizer
    >>> _ = torch.manual_seed(0)
    >>> X = torch.randn(40, 3)
    >>> y = torch.sin(X.sum(dim=1, keepdim=True))
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))
    >>> optimizer = Optimizer(net.parameters())  # instead of torch.optim.LBFGS(...)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = torch.nn.functional.mse_loss(net(X), y)
    ...     loss.backward()
    ...     return loss
    >>> for _ in range(10):
    ...     loss = optimizer.step(closure)
    >>> bool(loss < 0.05)
    True
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor] | Iterable[tuple[str, torch.Tensor]],
        method: str | Method | None = None,
        *,
        lr: float | None = None,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int | None = None,
        line_search_fn: str | None = None,
        module: torch.nn.Module | None = None,
        **options: object,
    ) -> None:
        check_choice("line_search_fn", line_search_fn, (None, "strong_wolfe"))
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
        }
        self._ready = False
        super().__init__(params, defaults)
        group = self.param_groups[0]
        self._parameters = Parameters(self._named())
        if method is None and history_size is not None:
            method = "lqn-tr"
        # All parameters count, frozen or not: which are frozen may change.
        row = method_of(method, sum(p.numel() for p in group["params"]))
        self.method, self._run = settled(row, options, lr, history_size, line_search_fn)
        for numbers in (self.defaults, group):
            fill(numbers, self.method)
        check(group)
        self._random = RandomNumbers(self._parameters.device)
        if not isinstance(module, torch.nn.Module | None):
            raise TypeError(f"module={module!r}: pass the torch.nn.Module that is trained.")
        self._buffers = None if module is None else Buffers(module)
        self._state: State | None = None
        self._ready = True

    def add_param_group(self, param_group: dict[str, object]) -> None:
        """Take the one parameter group; a second one is an error."""
        if self._ready or self.param_groups:
            raise ValueError(
                "Optimizer takes one parameter group: the model of curvature is of all "
                "parameters together. Pass them in one list, or make an optimizer for each."
            )
        super().add_param_group(param_group)

    def _named(self) -> list[tuple[str, torch.Tensor]]:
        group = self.param_groups[0]
        names = group.get("param_names") or [f"params[{i}]" for i in range(len(group["params"]))]
        return list(zip(names, group["params"], strict=True))

    @property
    def status(self) -> Status | None:
        """Why the last step ended."""
        return None if self._state is None else self._state.status

    @property
    def message(self) -> str:
        """Why the last step ended, in words, with the numbers that were compared."""
        return "" if self._state is None else self._state.message

    @property
    def iterations(self) -> int:
        """Iterations made since the memory of curvature began."""
        return 0 if self._state is None else self._state.k

    @property
    def evaluations(self) -> int:
        """Calls of the closure since the memory of curvature began."""
        return 0 if self._state is None else self._state.counters.nfev

    def step(self, closure: Callable[[], float | torch.Tensor]) -> float | torch.Tensor | None:
        """Make up to `max_iter` iterations on the closure; return the loss before them.

        Parameters
        ----------
        closure : callable
            Zeroes the gradients, computes the loss, calls its ``backward()``, returns it.  Loss
            and gradient must be finite at the start of the step.
        """
        if not callable(closure):
            raise TypeError(f"closure={closure!r}: pass a function that returns the loss.")
        group = self.param_groups[0]
        check(group)
        self._follow_parameters()
        run = replace(
            self._run,
            maxiter=group["max_iter"],
            maxfun=group["max_eval"],
            gtol=group["tolerance_grad"],
        )
        method = self.method
        if "learning_rate" in method.option_names():
            rate = float(group["lr"])
            if rate == 0.0:  # where many schedules begin or end
                run = replace(run, maxiter=0)
            else:
                method = method.with_options({"learning_rate": rate})
        evaluated = Closure(closure, self._parameters, self._random, self._buffers)
        before = self.iterations, self.evaluations
        x = self._parameters.gather()
        try:
            with torch.no_grad():
                state, error = advance(
                    evaluated, x, self._state, method, run, group["tolerance_change"]
                )
        except BaseException:
            self._parameters.write(x)
            raise
        self._state = state
        self._parameters.write(state.iterate.x)
        if error is not None:
            raise error
        cut = state.k == before[0] and bool(run.maxiter) and state.status is Status.LIMIT
        if cut and run.maxfun is not None and self.evaluations - before[1] >= run.maxfun:
            warnings.warn(
                f"max_eval={run.maxfun} calls of the closure were not enough for one iteration of "
                f"{method.name!r}, so nothing, or next to nothing, was gained: raise max_eval.",
                UserWarning,
                stacklevel=user_level(),
            )
        self._parameters.write_gradients(state.iterate.g)
        return evaluated.first

    def _follow_parameters(self, *, warn: bool = True) -> None:
        """Begin anew where the trained parameters are not those of the step before."""
        known = self._parameters
        trained = [p for _, p in self._named() if p.requires_grad]
        same = len(trained) == len(known.tensors) and all(map(operator.is_, trained, known.tensors))
        same = same and all((p.dtype, p.device) == (known.dtype, known.device) for p in trained)
        if same or not (trained or warn):  # without parameters only a step raises
            return
        self._parameters = Parameters(self._named())
        self._random = RandomNumbers(self._parameters.device)
        had, self._state = self._state is not None, None
        if had and warn:
            warnings.warn(
                f"{self._parameters.size} parameters are trained from now on, {known.size} were "
                "before (or their type or device has changed): the memory of curvature begins "
                "anew.",
                UserWarning,
                stacklevel=user_level(),
            )

    # --- copies ----------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, object]:
        """Return the state of a copy, torch's part and this class's."""
        own = ("method", "_parameters", "_run", "_random", "_buffers", "_state", "_ready")
        return {**super().__getstate__(), **{name: self.__dict__[name] for name in own}}

    # --- on disk ---------------------------------------------------------------------------

    def state_dict(self) -> StateDict:
        """Return the state of a run: tensors, numbers and strings, nothing else.

        It holds neither the parameters nor torch's random numbers: save
        ``module.state_dict()`` beside it, and ``torch.get_rng_state()`` where there is
        dropout.  ``torch.load(..., weights_only=True)`` reads it.
        """
        self._follow_parameters(warn=False)
        saved: StateDict = super().state_dict()
        saved["state"] = packed(self._state, self.method, self._parameters.size)
        return saved

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Resume from what `state_dict` returned.

        Raises a ValueError for the state of another optimizer, method, number of parameters or
        version.
        """
        groups = state_dict.get("param_groups") or [{}]
        missing = sorted(GROUP - groups[0].keys())
        if missing:
            raise ValueError(f"the state is of another optimizer: it lacks {', '.join(missing)}.")
        self._follow_parameters(warn=False)
        state = restored(state_dict.get("state", {}), self.method, self._parameters.gather())
        super().load_state_dict({**state_dict, "state": {}})
        self._state = state
