"""A torch module as an objective: derivatives, frozen buffers and masks, clear errors."""

from __future__ import annotations

import numpy as np
import pytest

import negopt
from negopt.neural import MLP, MLPObjective, check_deterministic, fit

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from negopt.neural.torch import TorchObjective  # noqa: E402

# torch's forward mode loads formulas that it still compiles in a deprecated way.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.cell(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 8, 0.0, batch_first=True)
        self.out = nn.Linear(8, 5)

    def forward(self, x):
        return self.out(self.layer(self.embed(x))).transpose(1, 2)


class Tied(nn.Module):
    """An autoencoder whose second weight is its first, by another name."""

    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        self.decode.weight = self.encode.weight

    def forward(self, x):
        return self.decode(torch.tanh(self.encode(x)))


def convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.SiLU(),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(48, 3),
    )


def case(name, **options):
    """Return an objective in double precision."""
    torch.manual_seed(0)
    random, loss = torch.randn, functional.cross_entropy
    if name == "recurrent":
        net, data = Recurrent(), (random(6, 5, 3).double(), torch.arange(6) % 3)
    elif name == "attention":
        net, data = (
            Attention(),
            (torch.arange(12).reshape(3, 4) % 5, torch.arange(12).view(3, 4) % 4),
        )
    elif name == "tied":
        x = random(7, 4).double()
        net, data, loss = Tied(), (x, x), functional.mse_loss
    else:
        net, data = convolutional(), (random(8, 1, 6, 6).double(), torch.arange(8) % 3)
    return TorchObjective(net.double(), loss, *data, **options)


CASES = ("convolutional", "recurrent", "attention", "tied")


def direction(x, seed=1):
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)


def relative(a, b):
    return float((a - b).norm() / b.norm())


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same_state(module, before):
    return all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


# --- derivatives -------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_derivatives_agree_with_differences(name):
    objective = case(name)
    x, h = objective.x0, 1e-5
    (f, g), d = objective.fun_and_grad(x), direction(objective.x0)
    (f_up, g_up), (f_down, g_down) = (objective.fun_and_grad(x + t * d) for t in (h, -h))
    assert float(f_up - f_down) / (2 * h) == pytest.approx(float(g @ d), rel=1e-6)
    assert relative(objective.hessp(x)(d), (g_up - g_down) / (2 * h)) < 1e-6
    assert float(f) == float(objective.fun(x))
    assert torch.equal(objective.grad(x), g)


@pytest.mark.parametrize("name", ["attention", "tied"])
def test_products_agree_with_those_of_torch(name):
    objective = case(name)
    net, shapes = objective.module, [p.shape for p in objective.module.parameters()]
    names = [n for n, _ in net.named_parameters()]

    def loss(x):
        pieces = x.split([s.numel() for s in shapes])
        parts = {n: p.view(s) for n, p, s in zip(names, pieces, shapes, strict=True)}
        outputs = torch.func.functional_call(net, parts, (objective.inputs,))
        return objective.loss(outputs, objective.targets)

    x, p = objective.x0, direction(objective.x0)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        value, expected = torch.autograd.functional.hvp(loss, x, p)
    assert float(objective.fun(x)) == pytest.approx(float(value), rel=1e-14)
    assert relative(objective.hessp(x)(p), expected) < 1e-13


@pytest.mark.parametrize("name", ["convolutional", "attention"])
def test_both_ways_to_a_product_agree(name):
    twice = case(name)
    forward = case(name, products="forward-over-reverse", seed=0)
    twice = twice.on(twice.inputs, twice.targets, seed=0)
    x, p = twice.x0, direction(twice.x0)
    assert relative(twice.hessp(x)(p), forward.hessp(x)(p)) < 1e-12
    assert (twice.product_rule, forward.product_rule) == ("double backward", "forward-over-reverse")


@pytest.mark.parametrize("name", ["attention", "tied", "recurrent"])
def test_gauss_newton_products(name):
    """Against J'HJ with J and H by rows, from torch's own Jacobian and Hessian."""
    objective = case(name)
    x, p = objective.x0, direction(objective.x0)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        outputs = lambda at: objective.within(at, objective.outputs).reshape(-1)  # noqa: E731
        J = torch.autograd.functional.jacobian(outputs, x)
    shape = objective.within(x, objective.outputs).shape
    H = torch.autograd.functional.hessian(
        lambda z: objective.loss_of(z.view(shape)), outputs(x).detach()
    )
    assert relative(objective.gnp(x)(p), J.T @ (H @ (J @ p))) < 1e-12


def test_the_embedded_network_is_the_same():
    """MLPObjective and TorchObjective agree to rounding: value, gradient, products."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((13, 3)), rng.integers(0, 4, 13)
    ours = MLPObjective(MLP([3, 5, 4]), X, y, loss="softmax")
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    theirs = TorchObjective(net, functional.cross_entropy, torch.from_numpy(X), torch.from_numpy(y))
    x, p = ours.x0(rng=1), rng.standard_normal(ours.network.size)
    np.testing.assert_allclose(theirs.fun(x), ours.fun(x), rtol=1e-14)
    np.testing.assert_allclose(theirs.grad(x), ours.grad(x), atol=1e-15)
    np.testing.assert_allclose(theirs.hessp(x)(p), ours.hessp(x)(p), atol=1e-14)


class Square(torch.autograd.Function):
    """A square without a second backward pass, but with forward derivatives."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        return x * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0] * g

    @staticmethod
    def jvp(ctx, t):
        return 2 * ctx.saved_tensors[0] * t


class Lonely(Square):
    """The same without forward derivatives."""

    jvp = staticmethod(torch.autograd.Function.jvp)


class Squares(nn.Module):
    def __init__(self, square):
        super().__init__()
        self.w, self.square = nn.Parameter(torch.tensor([1.0, 2.0])), square

    def forward(self, x):
        return self.square.apply(self.w * x).sum()


def test_the_other_way_is_taken_where_it_is_the_only_one():
    objective = TorchObjective(Squares(Square), None, torch.ones(2))
    assert objective.product_rule is None
    x, p = objective.x0, torch.tensor([1.0, -3.0])
    product = objective.hessp(x)
    assert torch.equal(product(p), 2 * p)
    assert torch.equal(product(-p), -2 * p)
    assert objective.product_rule == "forward-over-reverse"
    other = objective.on(3 * torch.ones(2))
    assert other.product_rule == "forward-over-reverse"
    assert torch.equal(other.hessp(x)(p), 18 * p)


def test_no_way_to_second_derivatives_says_so():
    objective = TorchObjective(Squares(Lonely), None, torch.ones(2))
    x = objective.x0
    assert torch.equal(objective.grad(x), 2 * x)
    with pytest.raises(RuntimeError, match=r"no second derivatives.*double backward.*forward"):
        objective.hessp(x)(x)


def test_what_the_loss_does_not_depend_on_has_no_slope():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(2, 1), nn.Linear(2, 1)
            self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)

        def forward(self, x):
            return self.used(x) * self.frozen

    torch.manual_seed(0)
    objective = TorchObjective(Idle(), functional.mse_loss, torch.eye(2), torch.ones(2, 1))
    assert objective.names == ["used.weight", "used.bias", "idle.weight", "idle.bias"]
    x, p = objective.x0, torch.ones(6)
    g, h, G = objective.grad(x), objective.hessp(x)(p), objective.gnp(x)(p)
    for v in (g, h, G):
        assert torch.all(v[3:] == 0)
        assert torch.any(v[:3] != 0)
    nothing = TorchObjective(objective.module, lambda z: z.detach().sum(), torch.eye(2))
    for v in (nothing.grad(x), nothing.hessp(x)(p), nothing.gnp(x)(p)):
        assert torch.equal(v, torch.zeros(6))
    linear = TorchObjective(objective.module, lambda z: z.sum(), torch.eye(2))
    for v in (linear.hessp(x)(p), linear.gnp(x)(p)):
        assert torch.equal(v, torch.zeros(6))


def test_activation_checkpointing_goes_forward_at_the_right_point():
    """The pass that is made again during backward must see x too, and no other statistics."""
    from torch.utils.checkpoint import checkpoint

    class Saving(nn.Module):
        def __init__(self, saves):
            super().__init__()
            self.body = nn.Sequential(
                nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)
            )
            self.saves = saves

        def forward(self, x):
            return checkpoint(self.body, x, use_reentrant=False) if self.saves else self.body(x)

    torch.manual_seed(0)
    X, y, net = torch.randn(5, 3), torch.randn(5, 1), Saving(True)
    saving = TorchObjective(net, functional.mse_loss, X, y)
    x = saving.x0 + 0.5
    p, before = direction(x), state_of(net)
    g, h = saving.grad(x), saving.hessp(x)(p)
    assert same_state(net, before)
    net.saves = False
    plain = TorchObjective(net, functional.mse_loss, X, y)
    torch.testing.assert_close(g, plain.grad(x))
    torch.testing.assert_close(h, plain.hessp(x)(p))


def test_a_loss_may_look_at_the_parameters():
    """Weight decay in the loss is that of the trial's parameters."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    data = torch.randn(5, 2), torch.randn(5, 1)

    def decayed(outputs, targets):
        decay = sum(p.square().sum() for p in net.parameters())
        return functional.mse_loss(outputs, targets) + decay

    plain, with_decay = (TorchObjective(net, f, *data) for f in (functional.mse_loss, decayed))
    x, p = plain.x0 + 1.0, direction(plain.x0)
    torch.testing.assert_close(with_decay.fun(x), plain.fun(x) + x @ x)
    torch.testing.assert_close(with_decay.grad(x), plain.grad(x) + 2 * x)
    torch.testing.assert_close(with_decay.hessp(x)(p), plain.hessp(x)(p) + 2 * p)


def small(*, loss=functional.mse_loss, rule="auto", wrap=lambda net: net, norm=lambda layer: layer):
    """Return an objective on a network of two layers in double precision."""
    torch.manual_seed(0)
    X = torch.randn(20, 3, dtype=torch.float64)
    first, last = nn.Linear(3, 5).double(), nn.Linear(5, 4).double()
    net = wrap(nn.Sequential(norm(first), nn.Tanh(), last))
    return TorchObjective(net, loss, X, torch.sin(X @ torch.ones(3, 4).double()), products=rule)


def difference(objective, x, p, h=1e-5):
    return (objective.grad(x + h * p) - objective.grad(x - h * p)) / (2 * h)


def legacy_norm(layer, **options):
    with pytest.warns(FutureWarning, match="weight_norm"):
        return nn.utils.weight_norm(layer, **options)


@pytest.mark.parametrize("rule", ["double backward", "forward-over-reverse"])
@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, legacy_norm])
@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_normalisation(norm, dim, rule):
    """The gradient of torch's kernel is not differentiated: that leaves a part of H away."""
    objective = small(rule=rule, norm=lambda layer: norm(layer, dim=dim))
    x, p = objective.x0, direction(objective.x0)
    assert relative(objective.hessp(x)(p), difference(objective, x, p)) < 1e-7


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("rule", ["auto", "double backward"])
def test_weight_normalisation_in_traced_code_is_refused(rule):
    data = torch.ones(2, 3, dtype=torch.float64)
    objective = small(norm=legacy_norm, wrap=lambda net: torch.jit.trace(net, data), rule=rule)
    x = objective.x0
    with pytest.raises(RuntimeError, match="weight normalisation has a wrong second derivative"):
        objective.hessp(x)(x)
    plain, p = small(norm=legacy_norm), direction(x)
    assert plain.names == objective.names
    assert relative(objective.gnp(x)(p), plain.gnp(x)(p)) < 1e-14  # needs the first alone


def row_of(z):
    return torch.arange(len(z)) % 4


def shares(t):
    return torch.softmax(t, dim=1)


LOSSES = {
    "mse": functional.mse_loss,
    "mse, sum": lambda z, t: functional.mse_loss(z, t, reduction="sum"),
    "mse, module": nn.MSELoss(),
    "mse, closed over": lambda z, t: functional.mse_loss(z[:, :2], torch.zeros(20, 2).double()),
    "mse, both": lambda z, t: functional.mse_loss(z[:, :2], z[:, 2:]),
    "l1": functional.l1_loss,
    "smooth l1": functional.smooth_l1_loss,
    "huber": lambda z, t: functional.huber_loss(z, 2 * t, delta=0.7),
    "huber, sum": lambda z, t: functional.huber_loss(z, t, "sum", 0.3),
    "cross entropy": lambda z, t: functional.cross_entropy(z, row_of(z), label_smoothing=0.1),
    "cross entropy, shares": lambda z, t: functional.cross_entropy(z, shares(t)),
    "nll": lambda z, t: functional.nll_loss(z.log_softmax(1), row_of(z)),
    "bce": lambda z, t: functional.binary_cross_entropy(z.sigmoid(), t.sigmoid()),
    "bce with logits": lambda z, t: functional.binary_cross_entropy_with_logits(z, t.sigmoid()),
    "kl": lambda z, t: functional.kl_div(z.log_softmax(1), shares(t), reduction="batchmean"),
    "gaussian nll": lambda z, t: functional.gaussian_nll_loss(z, t, z.exp()),
    "poisson nll": lambda z, t: functional.poisson_nll_loss(z, t.exp()),
    "cosine": lambda z, t: functional.cosine_embedding_loss(z, t, torch.ones(20).double()),
    "triplet": lambda z, t: functional.triplet_margin_loss(z, t, t.flip(0)),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_both_ways_agree_on_the_losses_of_torch(loss):
    twice, forward = (small(loss=loss, rule=r) for r in ("double backward", "forward-over-reverse"))
    x, p = twice.x0, direction(twice.x0)
    product = twice.hessp(x)(p)
    assert relative(forward.hessp(x)(p), product) < 1e-13
    assert relative(difference(twice, x, p), product) < 1e-6


def test_a_huber_loss_with_weights_has_no_forward_derivative():
    def loss(z, t):
        return functional.huber_loss(z, t, weight=torch.ones_like(t))

    try:
        objective = small(loss=loss, rule="forward-over-reverse")
        objective.fun(objective.x0)
    except TypeError:
        pytest.skip("this torch knows no weights there")
    with pytest.raises(NotImplementedError, match="huber_loss with weights"):
        objective.hessp(objective.x0)(objective.x0)


def compiled(what):
    try:
        return torch.compile(what, backend="aot_eager")
    except RuntimeError as error:
        pytest.skip(f"no torch.compile here: {error}")


def square(z, t):
    return (z - t).square().mean()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute:UserWarning")
def test_products_set_compiled_code_aside(monkeypatch):
    plain, module, loss = small(), small(wrap=compiled), small(loss=compiled(square))
    x, p = plain.x0, direction(plain.x0)
    can = hasattr(torch.compiler, "set_stance")
    for objective in (module, loss):
        torch.testing.assert_close(objective.grad(x), plain.grad(x))
        if can:
            torch.testing.assert_close(objective.hessp(x)(p), plain.hessp(x)(p))
            torch.testing.assert_close(objective.gnp(x)(p), plain.gnp(x)(p))
    monkeypatch.delattr(torch.compiler, "set_stance", raising=False)  # as before torch 2.6
    for objective in (small(wrap=compiled), small(loss=compiled(square))):
        with pytest.raises(RuntimeError, match=r"no second deriv.*compiled code .*: pass the mod"):
            objective.hessp(x)(p)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_modules_have_products_by_double_backward():
    plain, scripted = small(), small(wrap=torch.jit.script)
    x, p = plain.x0, direction(plain.x0)
    for _ in range(4):  # scripts change their ways after some runs
        scripted = scripted.on(scripted.inputs, scripted.targets)
        assert float(scripted.fun(x)) == pytest.approx(float(plain.fun(x)), rel=1e-14)
        assert relative(scripted.grad(x), plain.grad(x)) < 1e-14
        assert relative(scripted.hessp(x)(p), plain.hessp(x)(p)) < 1e-14
        assert relative(scripted.gnp(x)(p), plain.gnp(x)(p)) < 1e-14


class Activation(nn.Module):
    def __init__(self, apply):
        super().__init__()
        self.apply_to = apply

    def forward(self, x):
        return self.apply_to(x)


def swish(x):
    return x * torch.sigmoid(x) * torch.tanh(x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forward_derivatives_that_a_script_would_lose_are_refused():
    activation = Activation(torch.jit.script(swish))
    plain = small(wrap=lambda net: nn.Sequential(net, activation), loss=square)
    forward = TorchObjective(
        plain.module, square, plain.inputs, plain.targets, products="forward-over-reverse"
    )
    x, p = plain.x0, direction(plain.x0)
    for _ in range(4):
        plain.on(plain.inputs, plain.targets).grad(x)
    with pytest.raises(NotImplementedError, match=r"scripted code .* take products='double back"):
        forward.hessp(x)(p)
    assert relative(plain.hessp(x)(p), difference(plain, x, p)) < 1e-7


def test_modules_of_several_devices():
    plain, parallel = small(), small(wrap=nn.DataParallel)
    x, p = plain.x0, direction(plain.x0)
    torch.testing.assert_close(parallel.hessp(x)(p), plain.hessp(x)(p))
    parallel.module.device_ids = [0, 1]
    distributed = nn.parallel.DistributedDataParallel
    for module in (parallel.module, distributed.__new__(distributed)):
        with pytest.raises(TypeError, match=r"Parallel, .* several devices; pass .* module.module"):
            TorchObjective(module, functional.mse_loss, plain.inputs, plain.targets)


# --- what stays as it is, and what advances ----------------------------------------------------


def test_evaluations_leave_the_module_and_the_generators_alone():
    objective = case("convolutional")
    net = objective.module
    before, random, ids = state_of(net), torch.get_rng_state(), [id(b) for b in net.buffers()]
    for offset in (0.0, 0.1):
        x = objective.x0 + offset
        objective.fun_and_grad(x)
        objective.hessp(x)(x)
        objective.gnp(x)(x)
        objective.predict(x)
    assert same_state(net, before)
    assert ids == [id(b) for b in net.buffers()]
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in net.parameters())
    assert net.training
    check_deterministic(objective, objective.x0, rtol=0.0)


def test_commit_advances_the_buffers_once_by_the_pass_at_the_point():
    objective, twin = case("convolutional"), case("convolutional")
    x = objective.x0 + 0.1
    twin.load(x)
    twin.module(twin.inputs)  # batch norm comes before dropout: the mask has no say
    objective.fun_and_grad(x)
    objective.fun_and_grad(x + 1.0)  # a trial that is not accepted
    objective.commit(x)
    after = objective.module.state_dict()
    assert int(after["1.num_batches_tracked"]) == 1
    for name, value in twin.module.named_buffers():
        torch.testing.assert_close(after[name], value, rtol=1e-12, atol=0.0)
    objective.on(objective.inputs, objective.targets, training=False).commit(x)
    assert int(objective.module[1].num_batches_tracked) == 1


def test_buffers_that_are_replaced_or_shared():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(2))
            self.register_buffer("count", torch.zeros(()))
            self.register_buffer("same", self.count)
            self.register_buffer("seen", torch.zeros(0))

        def forward(self, x):
            self.count += 1
            self.seen = torch.cat([self.seen, self.count.reshape(1)])
            return (self.w * x).sum() * self.same

    objective = TorchObjective(Counting(), None, torch.ones(2))
    x = objective.x0
    assert float(objective.fun(x)) == float(objective.on(torch.ones(2)).fun(x)) == 2.0
    objective.commit(x)
    objective.commit(x)
    assert float(objective.module.count) == float(objective.module.same) == 1.0
    assert objective.module.seen.tolist() == [1.0]
    fresh = objective.on(torch.ones(2))
    fresh.commit(x)
    assert objective.module.seen.tolist() == [1.0, 2.0]
    assert objective.module.same is objective.module.count


def test_buffers_go_into_a_checkpoint_and_back():
    objective = case("convolutional")
    objective.commit(objective.x0)
    saved, before = objective.buffers(), state_of(objective.module)
    assert set(saved) == {f"1.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")}
    assert all(type(value) is np.ndarray for value in saved.values())
    objective.on(objective.inputs, objective.targets).commit(objective.x0 + 1.0)
    assert not same_state(objective.module, before)
    objective.load_buffers(saved)
    assert same_state(objective.module, before)
    with pytest.raises(ValueError, match=r"differ in 1.running_mean, 1.running_var; load"):
        objective.load_buffers({"1.num_batches_tracked": 1})
    assert same_state(objective.module, before)
    assert case("attention").buffers() == {}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e5m2])
def test_buffers_of_types_that_numpy_lacks(dtype, tmp_path):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(2))
            self.register_buffer("scale", torch.tensor([0.1, 1e-6, -3e4, torch.inf]).to(dtype))

        def forward(self, x):
            return self.w * x

    objective = TorchObjective(Scaled(), torch.sum, torch.ones(2))
    before = objective.module.scale.clone()
    np.savez(tmp_path / "buffers.npz", **objective.buffers())
    objective.module.scale.zero_()
    with np.load(tmp_path / "buffers.npz", allow_pickle=False) as saved:
        objective.load_buffers(saved)
    assert objective.module.scale.dtype == dtype
    assert torch.equal(objective.module.scale.float(), before.float())


def test_a_mask_belongs_to_a_batch():
    objective = case("convolutional")
    x = objective.x0
    again = objective.on(objective.inputs, objective.targets)
    assert float(objective.fun(x)) != float(again.fun(x))
    one, two = (objective.on(objective.inputs, objective.targets, seed=3) for _ in range(2))
    assert float(one.fun(x)) == float(two.fun(x))
    torch.manual_seed(5)
    first = float(objective.on(objective.inputs, objective.targets).fun(x))
    torch.manual_seed(5)
    assert float(objective.on(objective.inputs, objective.targets).fun(x)) == first


def test_validation_in_evaluation_mode():
    objective = case("convolutional")
    net, x = objective.module, objective.x0
    value = float(objective.on(objective.inputs, objective.targets, training=False).fun(x))
    assert net.training
    assert net[3].training
    outputs = objective.predict(x)
    net.eval()
    with torch.no_grad():
        expected = net(objective.inputs)
    torch.testing.assert_close(outputs, expected)
    loss = functional.cross_entropy(expected, objective.targets)
    assert value == pytest.approx(loss.item(), rel=1e-14)
    assert objective.predict(x, objective.inputs[:2]).shape == (2, 3)


def test_an_exception_of_the_user_passes_through_and_loses_nothing():
    class Stop(RuntimeError):
        pass

    objective = case("convolutional")
    before, random = state_of(objective.module), torch.get_rng_state()
    parameters = list(objective.module.parameters())

    def loss(outputs, targets):
        raise Stop

    failing = TorchObjective(objective.module, loss, objective.inputs, objective.targets, seed=0)
    for call in (failing.fun, failing.grad, failing.hessp):
        with pytest.raises(Stop):
            call(failing.x0)
    assert same_state(objective.module, before)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p is q for p, q in zip(parameters, objective.module.parameters(), strict=True))


def test_randomness_that_is_not_torchs_is_found():
    rng = np.random.default_rng(0)

    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(2))

        def forward(self, x):
            return self.w * (x + float(rng.standard_normal()))

    objective = TorchObjective(Noisy(), torch.sum, torch.ones(2))
    with pytest.raises(ValueError, match=r"the value f differs.*not deterministic"):
        check_deterministic(objective, objective.x0)


# --- vectors and data --------------------------------------------------------------------------


def test_shared_parameters_appear_once():
    objective = case("tied")
    assert objective.size == 20
    assert objective.names == ["encode.weight", "encode.bias"]
    x = objective.x0 + 1.0
    objective.load(x)
    net = objective.module
    assert net.decode.weight is net.encode.weight
    assert torch.equal(objective.x0, x)
    net.zero_grad()
    functional.mse_loss(net(objective.inputs), objective.targets).backward()
    expected = torch.cat([p.grad.reshape(-1) for p in net.parameters()])
    torch.testing.assert_close(objective.grad(x), expected)


@pytest.mark.parametrize("method", ["lqn-tr", "newton-krylov", "lsr1-wolfe-pm"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_minimize(method, dtype):
    torch.manual_seed(0)
    X = torch.randn(30, 2, dtype=dtype)
    y = (X[:, :1] * X[:, 1:]).tanh()
    net = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1)).to(dtype)
    objective = TorchObjective(net, functional.mse_loss, X, y)
    start = objective.x0
    res = negopt.minimize(objective, start, method=method, options={"maxiter": 60})
    assert res.x.dtype == dtype
    assert isinstance(res.x, torch.Tensor)
    assert res.fun < 0.2 * float(objective.fun(start))
    assert torch.equal(objective.x0, start)
    objective.load(res.x)
    assert functional.mse_loss(net(X), y).item() == pytest.approx(res.fun, rel=1e-5)


def test_numpy_vectors_on_the_host_make_the_same_run():
    objective = case("tied")
    x, p = objective.x0, direction(objective.x0)
    frozen = x.numpy().copy()
    frozen.flags.writeable = False
    f, g = objective.fun_and_grad(frozen)
    assert isinstance(f, float)
    np.testing.assert_array_equal(g, objective.grad(x).numpy())
    np.testing.assert_array_equal(objective.hessp(frozen)(p.numpy()), objective.hessp(x)(p).numpy())
    res = negopt.minimize(objective, frozen, method="lqn-tr", options={"maxiter": 20})
    assert isinstance(res.x, np.ndarray)
    assert res.fun < f


def test_inputs_as_tuples_and_dicts_and_losses_of_the_module():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([2.0]))

        def forward(self, a, b):
            return (self.w * a - b).square().mean()

    a, b = torch.ones(3), torch.arange(3.0)
    by_place = TorchObjective(Two(), None, (a, b))
    by_name = TorchObjective(Two(), None, {"b": b, "a": a})
    x = by_place.x0
    assert float(by_place.fun(x)) == float(by_name.fun(x)) == pytest.approx(5 / 3)
    with pytest.raises(ValueError, match="gnp needs the loss apart"):
        by_place.gnp(x)
    pair = TorchObjective(Two(), lambda outputs: outputs[0], (a, b))
    with pytest.raises(ValueError, match="the loss returned"):
        TorchObjective(Two(), lambda outputs: None, (a, b)).fun(x)
    assert pair.loss_of(torch.ones(2)).shape == ()


def test_errors_name_what_is_wrong():
    net, data = nn.Linear(2, 1), (torch.eye(2), torch.ones(2, 1))
    mse = functional.mse_loss
    objective = TorchObjective(net, mse, *data)
    x = objective.x0
    with pytest.raises(ValueError, match=r"'x' has shape \(2,\).* 3 parameters"):
        objective.fun(x[:2])
    with pytest.raises(ValueError, match=r"'x' is torch.float64 .* module is torch.float32"):
        objective.fun(x.double())
    with pytest.raises(ValueError, match="'p' has shape"):
        objective.hessp(x)(x[:1])
    with pytest.raises(TypeError, match=r"'x' is a builtins.list"):
        objective.grad([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="products='forward'"):
        TorchObjective(net, mse, *data, products="forward")
    with pytest.raises(ValueError, match=r"the loss returned \(2, 1\)"):
        TorchObjective(net, lambda z, t: z - t, *data).fun(x)
    with pytest.raises(ValueError, match=r"'inputs' is on meta but the module is on cpu"):
        TorchObjective(net, mse, (torch.eye(2, device="meta"),), data[1])
    with pytest.raises(ValueError, match=r"type torch.bfloat16; convert"):
        TorchObjective(nn.Linear(2, 1).bfloat16(), mse, *data)
    mixed = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1).double())
    with pytest.raises(ValueError, match=r"'1.weight' is torch.float64 .* '0.weight' is"):
        TorchObjective(mixed, mse, *data)
    with pytest.raises(TypeError, match=r"module is a int; pass the torch.nn.Module"):
        TorchObjective(3, mse, *data)
    with pytest.raises(TypeError, match=r"loss='mse': pass a function"):
        TorchObjective(net, "mse", *data)
    with pytest.raises(ValueError, match="nothing to train"):
        TorchObjective(nn.Linear(2, 1).requires_grad_(False), mse, *data)
    with pytest.raises(ValueError, match="no shape yet"):
        TorchObjective(nn.LazyLinear(2), mse, *data)
    tuple_out = TorchObjective(nn.LSTM(2, 2), lambda z: z[0].sum(), torch.ones(1, 1, 2))
    with pytest.raises(TypeError, match="one tensor of outputs"):
        tuple_out.gnp(tuple_out.x0)


def test_batch_norm_with_one_sample_left_over():
    net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))
    X = torch.randn(21, 2)
    objective = TorchObjective(net, functional.mse_loss, X, X.sum(dim=1, keepdim=True))
    res = fit(objective, method="lqn-tr", batch_size=5, epochs=3)
    assert res.nit == 3 * 4  # of 5, 5, 5 and 6 samples
    assert res.fun < 1.5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", CASES)
def test_on_a_gpu_nothing_leaves_it(name):
    host = case(name)
    data = (host.inputs.cuda(), host.targets.cuda())
    objective = TorchObjective(host.module.cuda(), host.loss, *data, seed=0)
    x = objective.x0
    f, g = objective.fun_and_grad(x)
    h, G = objective.hessp(x)(g), objective.gnp(x)(g)
    assert {t.device for t in (x, f, g, h, G)} == {x.device}
    assert x.is_cuda
    check_deterministic(objective, x)
    d, t = direction(x.cpu()).cuda(), 1e-5
    difference = (objective.grad(x + t * d) - objective.grad(x - t * d)) / (2 * t)
    assert relative(objective.hessp(x)(d), difference) < 1e-6
    objective.commit(x)
    res = negopt.minimize(objective, x, method="lqn-tr", options={"maxiter": 5})
    assert res.x.device == x.device
    assert res.fun < float(f)
