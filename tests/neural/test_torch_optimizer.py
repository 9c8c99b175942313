"""The optimizer as those of torch.optim: one line changed, batches, what is kept and what not."""

from __future__ import annotations

import copy
import io
import pickle
import re

import numpy as np
import pytest

import negopt
from negopt import METHODS, Status

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from negopt.neural.torch import Optimizer  # noqa: E402


class Transformer(nn.Module):
    """A small causal transformer over characters."""

    def __init__(self, characters, width=16, length=16):
        super().__init__()
        self.embed = nn.Embedding(characters, width)
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        self.layer = nn.TransformerEncoderLayer(width, 2, 32, 0.0, batch_first=True)
        self.out = nn.Linear(width, characters)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, x):
        hidden = self.layer(self.embed(x) + self.place, src_mask=self.mask, is_causal=True)
        return self.out(hidden).transpose(1, 2)


def images():
    """Return a small convolutional network and noisy images of four kinds."""
    torch.manual_seed(0)
    kinds, y = torch.randn(4, 1, 8, 8), torch.arange(60) % 4
    X = kinds[y] + 1.5 * torch.randn(60, 1, 8, 8)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(64, 4)
    )
    return net, X, y


def characters():
    """Return a small transformer and a text."""
    torch.manual_seed(0)
    text = "the quick brown fox jumps over the lazy dog; pack my box with five dozen jugs. " * 5
    letters = sorted(set(text))
    ids = torch.tensor([letters.index(c) for c in text])[: 16 * 16 + 1]
    return Transformer(len(letters)), ids[:-1].view(16, 16), ids[1:].view(16, 16)


def small(dtype=torch.float32):
    torch.manual_seed(1)
    X = torch.randn(30, 2, dtype=dtype)
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)).to(dtype)
    return net, X, (X[:, :1] * X[:, 1:]).tanh()


def closure_of(net, loss, X, y, optimizer, calls=None):
    def closure():
        optimizer.zero_grad()
        value = loss(net(X), y)
        value.backward()
        if calls is not None:
            calls.append(value.item())
        return value

    return closure


def parameters_of(net):
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()]).clone()


# --- one line changed -----------------------------------------------------------------------


@pytest.mark.parametrize(("problem", "calls"), [(images, 13), (characters, 20)])
def test_a_loop_written_for_lbfgs_changes_by_one_line(problem, calls):
    """With the same calls of the closure the loss is not above that of torch's."""

    def train(make):
        net, X, y = problem()
        optimizer = make(net.parameters())
        seen = []
        closure = closure_of(net, functional.cross_entropy, X, y, optimizer, seen)
        while len(seen) < calls:
            optimizer.step(closure)
        return min(seen[:calls])

    ours = train(lambda p: Optimizer(p, max_iter=10))
    theirs = train(lambda p: torch.optim.LBFGS(p, max_iter=10, line_search_fn="strong_wolfe"))
    assert ours <= theirs
    assert ours < 0.5


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].needs == "jac"])
def test_every_method_of_gradients_trains(name):
    net, X, y = small()
    rate = {"gd": 0.1, "adam": 0.03}.get(name)
    optimizer = Optimizer(net.parameters(), name, lr=rate)
    seen = []
    closure = closure_of(net, functional.mse_loss, X, y, optimizer, seen)
    first = optimizer.step(closure)
    assert first.item() == seen[0]
    optimizer.step(closure)
    assert functional.mse_loss(net(X), y).item() < 0.8 * seen[0]
    assert optimizer.evaluations == len(seen)
    assert optimizer.iterations <= 40


@pytest.mark.parametrize("name", ["newton-krylov", "tr-ellipsoid", "sfn-lanczos"])
def test_products_by_differences_are_calls_of_the_closure(name):
    net, X, y = small(torch.float64)
    optimizer = Optimizer(net.parameters(), name, max_iter=4, max_eval=60)
    seen = []
    optimizer.step(closure_of(net, functional.mse_loss, X, y, optimizer, seen))
    assert optimizer.evaluations == len(seen) <= 60
    assert functional.mse_loss(net(X), y).item() < seen[0]


@pytest.mark.filterwarnings("ignore:max_eval=. calls of the closure:UserWarning")
@pytest.mark.parametrize("max_eval", [1, 2, 7])
def test_max_eval_is_never_exceeded(max_eval):
    net, X, y = small()
    optimizer = Optimizer(net.parameters(), max_eval=max_eval)
    seen = []
    closure = closure_of(net, functional.mse_loss, X, y, optimizer, seen)
    for k in range(1, 4):
        optimizer.step(closure)
        assert len(seen) <= k * max_eval
    assert functional.mse_loss(net(X), y).item() <= seen[0]


def test_the_same_run_as_minimize_on_the_flat_vector():
    """One step of many iterations is the solver's run, to the last bit."""
    from negopt.neural.torch import TorchObjective

    net, X, y = small(torch.float64)
    objective = TorchObjective(net, functional.mse_loss, X, y)
    both = lambda x: objective.fun_and_grad(x)  # noqa: E731
    options = {"maxiter": 30, "gtol": 0.0, "certify": False}
    res = negopt.minimize(both, objective.x0, jac=True, method="lqn-tr", options=options)
    optimizer = Optimizer(
        net.parameters(),
        "lqn-tr",
        max_iter=30,
        max_eval=99,
        tolerance_grad=0,
        tolerance_change=0,
        history_size=40,  # the pairs that minimize keeps: sums over more slots round otherwise
    )
    optimizer.step(closure_of(net, functional.mse_loss, X, y, optimizer))
    assert torch.equal(parameters_of(net), res.x)
    assert (optimizer.iterations, optimizer.evaluations) == (res.nit, res.nfev)


def test_a_run_cut_into_steps_goes_on_with_its_curvature():
    """The values at the start of a step show that the function is the same: nothing is lost."""
    ends = []
    for steps, max_iter in ((1, 24), (6, 4)):
        net, X, y = small(torch.float64)
        optimizer = Optimizer(net.parameters(), "lqn-tr", max_iter=max_iter, max_eval=99)
        closure = closure_of(net, functional.mse_loss, X, y, optimizer)
        for _ in range(steps):
            optimizer.step(closure)
        ends.append(parameters_of(net))
        assert optimizer.iterations == 24
    assert torch.equal(*ends)


# --- where it ends ---------------------------------------------------------------------------


def test_parameters_and_gradients_are_those_of_the_last_accepted_point():
    net, X, y = small()
    optimizer = Optimizer(net.parameters(), max_iter=5)
    seen = []
    optimizer.step(closure_of(net, functional.mse_loss, X, y, optimizer, seen))
    g = torch.cat([p.grad.reshape(-1) for p in net.parameters()])
    net.zero_grad()
    loss = functional.mse_loss(net(X), y)
    loss.backward()
    assert loss.item() == min(seen)
    assert torch.equal(g, torch.cat([p.grad.reshape(-1) for p in net.parameters()]))


def test_tolerances_end_a_step():
    net, X, y = small(torch.float64)
    seen = []
    optimizer = Optimizer(net.parameters(), max_iter=500, tolerance_grad=1e-3)
    optimizer.step(closure_of(net, functional.mse_loss, X, y, optimizer, seen))
    assert optimizer.status is Status.CONVERGED
    assert max(p.grad.abs().max().item() for p in net.parameters()) <= 1e-3
    calls = len(seen)
    optimizer.step(closure_of(net, functional.mse_loss, X, y, optimizer, seen))
    assert len(seen) == calls + 1  # already there
    net, X, y = small(torch.float64)
    optimizer = Optimizer(net.parameters(), max_iter=500, tolerance_change=1e-2)
    optimizer.step(closure_of(net, functional.mse_loss, X, y, optimizer, seen))
    assert "tolerance_change = 0.01" in optimizer.message
    assert 0 < optimizer.iterations < 100


def test_values_that_are_not_finite():
    """In a trial they shorten the step; at the start of a step they are an error."""
    w = nn.Parameter(torch.tensor([30.0, 20.0], dtype=torch.float64))
    optimizer = Optimizer([w], "lbfgs-wolfe", max_iter=60)
    seen = []

    def closure():
        optimizer.zero_grad()
        loss = (w - 10 * torch.log(w)).sum()  # nan at w < 0, least at 10
        loss.backward()
        seen.append(loss.item())
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert not np.all(np.isfinite(seen)) or min(seen) < seen[0]
    torch.testing.assert_close(w.detach(), torch.full((2,), 10.0, dtype=torch.float64))
    with torch.no_grad():
        w[0] = -1.0
    before = w.detach().clone()
    with pytest.raises(ValueError, match=r"f = nan .* start of this step"):
        optimizer.step(closure)
    assert torch.equal(w.detach(), before)
    fresh = Optimizer([w])
    with pytest.raises(ValueError, match="nan"):
        fresh.step(closure)


@pytest.mark.parametrize(("certify", "lowest"), [(False, 0.0), (True, -0.25)])
def test_a_saddle_is_left_where_the_check_is_asked_for(certify, lowest):
    w = nn.Parameter(torch.tensor([0.0, 1.0], dtype=torch.float64))  # the stable manifold
    optimizer = Optimizer([w], "lqn-tr", max_iter=200, certify=certify)

    def closure():
        optimizer.zero_grad()
        loss = w[0] ** 4 / 4 - w[0] ** 2 / 2 + w[1] ** 2 / 2
        loss.backward()
        return loss

    optimizer.step(closure)
    assert closure().item() == pytest.approx(lowest, abs=1e-10)
    assert optimizer.status is Status.CONVERGED


class Stop(Exception):
    pass


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
@pytest.mark.parametrize("at", [1, 4, 9])
def test_an_exception_passes_through_from_the_last_accepted_point(error, at):
    net, X, y = small(torch.float64)
    optimizer = Optimizer(net.parameters(), "lqn-tr", tolerance_change=0.0)
    seen, failing = [], [True]
    inner = closure_of(net, functional.mse_loss, X, y, optimizer, seen)

    def closure():
        if failing[0] and len(seen) == at - 1:
            raise error
        return inner()

    with pytest.raises(error):
        optimizer.step(closure)
    if seen:
        assert functional.mse_loss(net(X), y).item() == pytest.approx(min(seen), rel=1e-14)
    failing[0] = False
    begun = len(seen)
    for _ in range(4):
        optimizer.step(closure)
    assert min(seen[begun:]) < 0.5 * seen[0]
    assert optimizer.evaluations == len(seen) + (at > 1)  # the call that failed


# --- batches, buffers, masks ------------------------------------------------------------------


def test_each_step_begins_with_its_own_batch():
    """Pairs are of one batch: on quadratics that differ, each step sees its own curvature."""
    w = nn.Parameter(torch.zeros(6, dtype=torch.float64))
    optimizer = Optimizer([w], "lqn-tr", max_iter=3)
    scales = torch.logspace(0, 2, 6, dtype=torch.float64)
    minima, points = [torch.full((6,), c, dtype=torch.float64) for c in (1.0, 1.1)], []

    def closure_on(minimum):
        def closure():
            optimizer.zero_grad()
            points.append(w.detach().clone())
            loss = 0.5 * (scales * (w - minimum).square()).sum()
            loss.backward()
            return loss

        return closure

    for k in range(12):
        points.clear()
        at = w.detach().clone()
        first = optimizer.step(closure_on(minima[k % 2]))
        assert torch.equal(points[0], at)
        value = 0.5 * (scales * (at - minima[k % 2]).square()).sum()
        assert first.item() == value.item()
    # y = A s holds for every pair that is kept; pairs across batches would break it.
    memory = optimizer._state.memory
    kept = min(memory.count, memory.capacity)
    for slot in range(kept):
        s, v = memory.rows[slot], memory.rows[memory.capacity + slot]
        torch.testing.assert_close(v, scales * s)
    assert kept > 6


def test_mini_batches_train():
    net, X, y = small()
    optimizer = Optimizer(net.parameters(), max_iter=4)
    before = functional.mse_loss(net(X), y).item()
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        batch = torch.randperm(30, generator=generator)[:15]
        optimizer.step(closure_of(net, functional.mse_loss, X[batch], y[batch], optimizer))
    assert functional.mse_loss(net(X), y).item() < 0.2 * before


@pytest.mark.parametrize("name", ["lqn-tr", "lsr1-wolfe-pm"])
def test_a_batch_on_which_nothing_goes_does_not_end_training(name):
    w = nn.Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
    optimizer, wrong = Optimizer([w], name, max_iter=60, max_eval=200), [True]

    def closure():
        optimizer.zero_grad()
        loss = (w - 1).square().sum()
        loss.backward()
        if wrong[0]:
            w.grad.mul_(-2.0)  # there is no descent along this one
        return loss

    before = w.detach().clone()
    optimizer.step(closure)
    assert optimizer.status is not Status.LIMIT
    # The lowest trial may be a hair away.
    torch.testing.assert_close(w.detach(), before, rtol=1e-4, atol=0.0)
    wrong[0], calls = False, optimizer.evaluations
    optimizer.step(closure)
    assert optimizer.evaluations < calls + 20  # not from steps as tiny as the last ones
    torch.testing.assert_close(w.detach(), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("frozen", [True, False])
def test_buffers_advance_once_for_each_accepted_step(frozen):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))
    X, y = torch.randn(12, 3), torch.randn(12, 1)
    optimizer = Optimizer(
        net.parameters(), "lsr1-wolfe-pm", max_iter=6, module=net if frozen else None
    )
    seen, means = [], []
    hook = net[0].register_forward_hook(lambda m, i, out: means.append(out.detach().mean(dim=0)))
    inner = closure_of(net, functional.mse_loss, X, y, optimizer, seen)
    buffer = net[1].running_mean
    optimizer.step(inner)
    hook.remove()
    advanced = int(net[1].num_batches_tracked)
    assert advanced == (optimizer.iterations if frozen else len(seen))
    assert net[1].running_mean is buffer
    if frozen:
        assert optimizer.iterations < len(seen) - 1  # some trials were not accepted
        expected = torch.zeros(4)
        lowest, accepted = seen[0], 0
        for value, mean in zip(seen[1:], means[1:], strict=True):
            if value < lowest:  # as good as accepted here: each search ends at its lowest
                lowest, accepted = value, accepted + 1
                expected = 0.9 * expected + 0.1 * mean
        if accepted == advanced:
            torch.testing.assert_close(buffer, expected)


def test_a_mask_is_the_same_in_all_calls_of_a_step():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Dropout(0.5), nn.Linear(16, 1))
    X, y, masks = torch.randn(12, 3), torch.randn(12, 1), []
    optimizer = Optimizer(net.parameters(), max_iter=4)
    net[2].register_forward_hook(lambda m, i, out: masks.append((out != 0).clone()))
    closure = closure_of(net, functional.mse_loss, X, y, optimizer)
    for _ in range(2):
        begun = len(masks)
        optimizer.step(closure)
        assert len(masks) > begun + 2
        assert all(torch.equal(mask, masks[begun]) for mask in masks[begun:])
    assert not torch.equal(masks[0], masks[-1])


# --- on disk ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["lqn-tr", "lsr1-wolfe-pm", "dqn-wolfe-pm", "adam", "ogr"])
def test_a_loaded_run_goes_on_bit_for_bit(name, dtype):
    def begin():
        net, X, y = small(dtype)
        optimizer = Optimizer(net.parameters(), name, max_iter=5, rng=3)
        return net, optimizer, closure_of(net, functional.mse_loss, X, y, optimizer)

    net, optimizer, closure = begin()
    for _ in range(3):
        optimizer.step(closure)
    file = io.BytesIO()
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
    for _ in range(3):
        optimizer.step(closure)
    file.seek(0)
    saved = torch.load(file, weights_only=True)  # tensors, numbers and strings: no code
    again, other, closure = begin()
    other.step(closure)  # what was there before is replaced
    again.load_state_dict(saved["net"])
    other.load_state_dict(saved["optimizer"])
    for _ in range(3):
        other.step(closure)
    assert torch.equal(parameters_of(net), parameters_of(again))
    assert (other.iterations, other.evaluations) == (optimizer.iterations, optimizer.evaluations)


def test_a_saved_state_is_no_view_of_the_run():
    net, X, y = small()
    optimizer = Optimizer(net.parameters(), "lqn-tr", max_iter=3, max_eval=5)
    closure = closure_of(net, functional.mse_loss, X, y, optimizer)
    optimizer.step(closure)
    saved = optimizer.state_dict()
    copies = {name: value.clone() for name, value in saved["state"]["arrays"].items()}
    optimizer.step(closure)
    assert copies
    assert all(torch.equal(value, copies[name]) for name, value in saved["state"]["arrays"].items())
    assert saved["param_groups"][0]["max_eval"] == 5
    other = Optimizer(net.parameters(), "lqn-tr")
    other.load_state_dict(saved)
    assert other.param_groups[0]["max_eval"] == 5


def test_states_that_do_not_fit_are_refused():
    net, X, y = small()
    optimizer = Optimizer(net.parameters(), "lqn-tr")
    empty = optimizer.state_dict()
    optimizer.step(closure_of(net, functional.mse_loss, X, y, optimizer))
    saved, before = optimizer.state_dict(), optimizer.iterations
    with pytest.raises(ValueError, match="from method 'lqn-tr', not 'lsr1-tr'"):
        Optimizer(net.parameters(), "lsr1-tr").load_state_dict(saved)
    bigger = nn.Linear(40, 1)
    with pytest.raises(ValueError, match="of 33 parameters but the optimizer has 41 to train"):
        Optimizer(bigger.parameters(), "lqn-tr").load_state_dict(saved)
    theirs = torch.optim.LBFGS(net.parameters())
    theirs.step(closure_of(net, functional.mse_loss, X, y, theirs))
    for foreign in (theirs, torch.optim.LBFGS(net.parameters())):  # used, and fresh
        with pytest.raises(ValueError, match="state is of another optimizer"):
            optimizer.load_state_dict(foreign.state_dict())
    assert optimizer.iterations == before
    optimizer.load_state_dict(empty)
    assert optimizer.iterations == 0


# --- arguments ----------------------------------------------------------------------------------


def test_arguments_of_lbfgs_have_their_counterpart():
    net, _, _ = small()
    optimizer = Optimizer(
        net.parameters(), "lsr1-wolfe-pm", lr=1, history_size=7, line_search_fn="strong_wolfe"
    )
    assert optimizer.method.curvature.maxcor == 7
    assert optimizer.method.globalize.wolfe == "strong"
    assert Optimizer(net.parameters()).method.name == "dqn-wolfe-pm"  # 33 parameters
    assert Optimizer(nn.Linear(400, 1).parameters()).method.name == "lqn-tr"
    assert Optimizer(net.parameters(), METHODS["lsr1-tr"]).method.name == "lsr1-tr"
    assert Optimizer(net.named_parameters(), "LSR1_TR").method.name == "lsr1-tr"
    with pytest.warns(UserWarning, match=r"lr=0.1 has no effect"):
        Optimizer(net.parameters(), lr=0.1)


def test_learning_rates_follow_their_group():
    w = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = Optimizer([w], "gd", lr=0.25, max_iter=1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)

    def closure():
        optimizer.zero_grad()
        loss = 0.5 * (w * w).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert w.item() == 0.75
    scheduler.step()
    optimizer.step(closure)
    assert w.item() == 0.75 * 0.875


@pytest.mark.parametrize("name", ["gd", "adam"])
def test_a_rate_of_zero_takes_no_step(name):
    """Schedules begin there (a warm-up) or end there (a cosine)."""
    net, X, y = small()
    optimizer = Optimizer(net.parameters(), name, lr=0.01, max_iter=3, max_eval=9)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: float(epoch % 2))

    def closure():
        optimizer.zero_grad()
        loss = functional.mse_loss(net(X), y)
        loss.backward()
        return loss

    for epoch in range(4):
        before = [p.detach().clone() for p in net.parameters()]
        optimizer.step(closure)
        same = [torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)]
        assert all(same) == (epoch % 2 == 0)
        scheduler.step()
    assert optimizer.iterations == 6


@pytest.mark.parametrize("name", ["sfn-exact", "new-q-newton"])
def test_a_method_that_forms_the_hessian_has_the_calls_for_it(name):
    net, X, y = small()
    optimizer = Optimizer(net.parameters(), name)
    closure = closure_of(net, functional.mse_loss, X, y, optimizer)
    first = optimizer.step(closure).item()
    assert optimizer.iterations > 5
    assert optimizer.param_groups[0]["max_eval"] is None  # 33 calls an iteration
    assert closure().item() < 0.5 * first


@pytest.mark.parametrize("name", ["sfn-exact", "sfn-series"])
def test_a_step_without_an_iteration_warns(name):
    net, X, y = small()
    optimizer = Optimizer(net.parameters(), name, max_eval=8)
    closure = closure_of(net, functional.mse_loss, X, y, optimizer)
    with pytest.warns(UserWarning, match=f"max_eval=8 .* of '{name}'.*raise max_eval"):
        optimizer.step(closure)
    assert optimizer.iterations == 0


def test_a_first_loss_that_is_not_finite_speaks_of_the_closure():
    net, X, y = small()
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = Optimizer(net.parameters())
    with pytest.raises(ValueError, match="the closure gives f = nan"):
        optimizer.step(closure_of(net, functional.mse_loss, X * torch.nan, y, optimizer))
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


@pytest.mark.parametrize("max_iter", [1, 2])
@pytest.mark.parametrize("name", [None, *(m for m in METHODS if not METHODS[m].baseline)])
def test_few_iterations_a_step_train_too(name, max_iter):
    net, X, y = small()
    optimizer = Optimizer(net.parameters(), name, max_iter=max_iter)
    closure = closure_of(net, functional.mse_loss, X, y, optimizer)
    first = closure().item()
    for _ in range(20):
        optimizer.step(closure)
    assert optimizer.iterations >= 10
    assert closure().item() < 0.8 * first


@pytest.mark.parametrize("name", [None, "gd", "adam", "sfn-series"])
def test_schedulers_find_a_rate(name):
    net, X, y = small()
    optimizer = Optimizer(net.parameters(), name)
    row = METHODS[name].globalize if name else None
    rate = 1.0 if row is None else row.learning_rate
    assert optimizer.param_groups[0]["lr"] == rate
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    optimizer.step(closure_of(net, functional.mse_loss, X, y, optimizer))
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(rate / 10)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    plateau.step(1.0)


def test_a_history_chooses_a_method_that_has_one():
    net, _, _ = small()
    optimizer = Optimizer(net.parameters(), lr=1, history_size=50, line_search_fn="strong_wolfe")
    assert optimizer.method.name == "lqn-tr"
    assert optimizer.method.curvature.maxcor == 50


def test_numbers_of_the_group_are_used_and_checked():
    net, X, y = small()
    optimizer = Optimizer([{"params": net.parameters(), "max_eval": 7}], "lqn-tr")
    closure = closure_of(net, functional.mse_loss, X, y, optimizer)
    optimizer.step(closure)
    assert optimizer.evaluations == 7
    with pytest.raises(ValueError, match="max_iter=-3"):
        Optimizer([{"params": net.parameters(), "max_iter": -3}])
    optimizer.param_groups[0]["tolerance_grad"] = "small"
    with pytest.raises(ValueError, match="tolerance_grad='small'"):
        optimizer.step(closure)


def test_what_is_trained_may_change():
    net, X, y = small()
    net[0].requires_grad_(False)
    optimizer = Optimizer(net.parameters())
    closure = closure_of(net, functional.mse_loss, X, y, optimizer)
    optimizer.step(closure)
    still = net[0].weight.detach().clone()
    net[0].requires_grad_(True)
    with pytest.warns(UserWarning, match="33 parameters are trained from now on, 9 were before"):
        optimizer.step(closure)
    assert not torch.equal(net[0].weight, still)
    net[0].requires_grad_(False)
    still = net[0].weight.detach().clone()
    with pytest.warns(UserWarning, match="9 parameters are trained from now on"):
        optimizer.step(closure)
    assert torch.equal(net[0].weight, still)
    net.double()
    X, y = X.double(), y.double()
    with pytest.warns(UserWarning, match="type or device has changed"):
        optimizer.step(closure_of(net, functional.mse_loss, X, y, optimizer))
    assert optimizer.iterations > 0


def test_the_default_method_does_not_depend_on_what_is_frozen():
    net = nn.Sequential(nn.Linear(2, 120), nn.Tanh(), nn.Linear(120, 1))  # 360 and 121 parameters
    net[0].requires_grad_(False)
    assert Optimizer(net.parameters()).method.name == "lqn-tr"


def test_a_state_goes_where_the_same_parameters_are_frozen():
    runs = []
    for _ in range(2):
        net, X, y = small()
        optimizer = Optimizer(net.parameters(), "lqn-tr")
        net[0].requires_grad_(False)  # behind the optimizer's back
        runs.append((net, optimizer, closure_of(net, functional.mse_loss, X, y, optimizer)))
    (net, first, closure), (other, second, again) = runs
    first.step(closure)
    other.load_state_dict(net.state_dict())
    second.load_state_dict(first.state_dict())
    assert second.iterations == first.iterations > 0
    assert first.step(closure).item() == second.step(again).item()
    net[0].requires_grad_(True)
    whole = Optimizer(net.parameters(), "lqn-tr").state_dict()
    with pytest.raises(ValueError, match="of 33 parameters but the optimizer has 9 to train"):
        second.load_state_dict(whole)


def test_all_may_be_frozen_between_steps():
    net, X, y = small()
    optimizer = Optimizer(net.parameters(), "lqn-tr")
    closure = closure_of(net, functional.mse_loss, X, y, optimizer)
    optimizer.step(closure)
    net.requires_grad_(False)
    optimizer.load_state_dict(optimizer.state_dict())
    with pytest.raises(ValueError, match="nothing to train"):
        optimizer.step(closure)
    net.requires_grad_(True)
    before = optimizer.iterations
    optimizer.step(closure)
    assert optimizer.iterations > before > 0


@pytest.mark.parametrize("changes", [{"lr": 0.0, "method": "gd"}, {"tolerance_grad": 1e9}])
def test_one_call_that_was_enough_is_no_warning(changes):
    net, X, y = small()
    optimizer = Optimizer(net.parameters(), max_eval=1, **changes)
    optimizer.step(closure_of(net, functional.mse_loss, X, y, optimizer))
    assert (optimizer.iterations, optimizer.evaluations) == (0, 1)


def test_a_loss_may_be_numpys():
    net, X, y = small()
    optimizer = Optimizer(net.parameters())
    inner = closure_of(net, functional.mse_loss, X, y, optimizer)
    optimizer.step(lambda: inner().detach().numpy())
    assert optimizer.iterations > 0


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_is_whole(how):
    net, X, y = small()
    optimizer = Optimizer(net.parameters(), "lqn-tr", max_iter=3)
    optimizer.step(closure_of(net, functional.mse_loss, X, y, optimizer))
    pair = (net, optimizer)
    other, copied = copy.deepcopy(pair) if how == "deepcopy" else pickle.loads(pickle.dumps(pair))
    for _ in range(2):
        losses = [
            o.step(closure_of(n, functional.mse_loss, X, y, o)).item()
            for n, o in (pair, (other, copied))
        ]
        assert losses[0] == losses[1]
    copied.load_state_dict(optimizer.state_dict())
    assert copied.iterations == optimizer.iterations == 9


def test_messages_speak_of_the_optimizers_own_options():
    net, X, y = small()
    for changes, words in (
        (
            {"max_iter": 2},
            r"\(max_iter = 2 in this call, 2 in all\).* > tolerance_grad.*Raise max_iter, or call",
        ),
        ({"max_eval": 3}, r"max_eval=3 evaluations are used up .*raise max_eval, or call step"),
    ):
        optimizer = Optimizer(net.parameters(), "lqn-tr", **changes)
        optimizer.step(closure_of(net, functional.mse_loss, X, y, optimizer))
        assert re.search(words, optimizer.message)


def test_states_of_other_options_or_damaged_are_refused():
    net, X, y = small()
    optimizer = Optimizer(net.parameters(), "lsr1-wolfe-pm", history_size=5)
    optimizer.step(closure_of(net, functional.mse_loss, X, y, optimizer))
    saved = optimizer.state_dict()
    with pytest.raises(ValueError, match="the state is of history_size=5, not 7"):
        Optimizer(net.parameters(), "lsr1-wolfe-pm", history_size=7).load_state_dict(saved)
    equal = Optimizer(net.parameters(), "lsr1-wolfe-pm", history_size=np.int64(5))
    equal.load_state_dict(saved)
    assert equal.iterations == optimizer.iterations
    saved["state"]["arrays"].pop("state.iterate.x")
    with pytest.raises(ValueError, match=r"is damaged: it lacks 'state.iterate.x'"):
        optimizer.load_state_dict(saved)


def test_states_of_other_optimizers_are_refused():
    net, _, _ = small()
    optimizer = Optimizer(net.parameters())
    for state in (torch.optim.Adam(net.parameters()).state_dict(), {}):
        with pytest.raises(ValueError, match="of another optimizer"):
            optimizer.load_state_dict(state)
    with pytest.raises(TypeError, match="module=3"):
        Optimizer(net.parameters(), module=3)


def test_errors_name_what_is_wrong():
    net, X, _ = small()
    groups = [{"params": [net[0].weight]}, {"params": [net[2].weight]}]
    with pytest.raises(ValueError, match="one parameter group"):
        Optimizer(groups)
    optimizer = Optimizer(net.parameters(), "lqn-tr")
    with pytest.raises(ValueError, match="one parameter group"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    for arguments, words in (
        ({"method": "L-BFGS-B"}, "is SciPy's"),
        ({"method": "lqn"}, "Unknown solver 'lqn'"),
        ({"maxiter": 3}, "here it is called max_iter"),
        ({"blocks": 3, "method": "lqn-tr"}, "Did you mean 'block'"),
        ({"max_iter": 0}, "max_iter=0"),
        ({"tolerance_grad": -1.0}, "tolerance_grad=-1.0"),
        ({"line_search_fn": "armijo"}, "line_search_fn='armijo'"),
        ({"history_size": 5, "method": "sr1-tr"}, "keeps no pairs"),
        ({"rng": "x"}, "rng='x'"),
        ({"lr": -1.0, "method": "gd"}, "lr=-1.0"),
    ):
        with pytest.raises(ValueError, match=words):
            Optimizer(net.parameters(), **arguments)
    with pytest.raises(TypeError, match="closure=None"):
        optimizer.step(None)
    with pytest.raises(ValueError, match="the closure returned None"):
        optimizer.step(lambda: None)
    with pytest.raises(ValueError, match=r"must call loss.backward"):
        optimizer.step(lambda: net(X).sum().detach())
    with pytest.raises(ValueError, match=r"params\[1\].* is torch.float64"):
        Optimizer([nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1).double())])


def test_frozen_unused_and_sparse_parameters():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(6, 2, sparse=True)
            self.idle = nn.Linear(2, 2)
            self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)

        def forward(self, x):
            return self.embed(x) * self.frozen

    torch.manual_seed(0)
    net, X = Words(), torch.tensor([0, 1, 2, 2])
    idle, frozen = net.idle.weight.detach().clone(), net.frozen.clone()
    optimizer = Optimizer(net.parameters(), max_iter=50)
    for _ in range(3):
        optimizer.step(closure_of(net, functional.mse_loss, X, torch.ones(4, 2), optimizer))
    torch.testing.assert_close(net(X), torch.ones(4, 2), atol=1e-3, rtol=0)
    assert torch.equal(net.idle.weight, idle)
    assert torch.equal(net.frozen, frozen)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", ["lqn-tr", "lsr1-wolfe-pm", "newton-krylov"])
def test_on_a_gpu(name):
    net, X, y = small()
    net, X, y = net.cuda(), X.cuda(), y.cuda()
    optimizer = Optimizer(net.parameters(), name, module=net)
    closure = closure_of(net, functional.mse_loss, X, y, optimizer)
    first = optimizer.step(closure)
    saved = optimizer.state_dict()
    optimizer.load_state_dict(saved)
    last = optimizer.step(closure)
    assert first.is_cuda
    assert last.item() < first.item()
    assert optimizer._state.iterate.x.is_cuda
