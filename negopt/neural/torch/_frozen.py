"""The state of a forward pass: buffers, random numbers, the mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from negopt.core.arrays import Array

#: The floating types that NumPy has too.
NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)


class Buffers:
    """The buffers of a module, which trials must not change."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module

    def _places(self) -> list[tuple[torch.nn.Module, str, torch.Tensor]]:
        return [
            (owner, name, buffer)
            for owner in self.module.modules()
            for name, buffer in owner.named_buffers(recurse=False, remove_duplicate=False)
        ]

    @contextmanager
    def trial(self) -> Iterator[list[torch.Tensor]]:
        """Run the body on copies; the list yielded holds them afterwards.

        N.B. not on the buffers themselves, restored afterwards: a graph may have kept one for
        its backward pass.
        """
        places = self._places()
        copies: dict[int, torch.Tensor] = {}
        for _, _, buffer in places:  # one that is registered twice stays one
            copies.setdefault(id(buffer), buffer.detach().clone())
        after: list[torch.Tensor] = []
        try:
            for owner, name, buffer in places:
                setattr(owner, name, copies[id(buffer)])
            yield after
            after += [getattr(owner, name).detach() for owner, name, _ in places]
        finally:
            for owner, name, buffer in places:
                setattr(owner, name, buffer)

    def commit(self, values: list[torch.Tensor]) -> None:
        """Copy `values`, as a trial has left them, into the buffers."""
        for (owner, name, buffer), value in zip(self._places(), values, strict=True):
            if buffer.shape == value.shape and buffer.dtype == value.dtype:
                buffer.detach().copy_(value)
            else:  # the module has put another tensor there
                setattr(owner, name, value.clone())

    def save(self) -> dict[str, Array]:
        """Return host copies of those in the module's ``state_dict``, by name.

        Types that NumPy lacks, such as bfloat16, are widened to float32.
        """
        kept = self.module.state_dict()
        return {
            name: _host(buffer.detach()).numpy().copy()
            for name, buffer in self.module.named_buffers()
            if name in kept
        }

    def load(self, saved: Mapping[str, Array]) -> None:
        """Copy back what `save` returned."""
        mine = self.save()
        odd = sorted(set(mine) ^ set(saved))
        if odd:
            raise ValueError(
                f"the saved buffers and those of the module differ in {', '.join(odd)}; load them "
                "into the module that they were saved from."
            )
        for name, now in mine.items():
            if np.shape(saved[name]) != now.shape:
                raise ValueError(
                    f"the saved buffer {name} has shape {np.shape(saved[name])}, the module's "
                    f"{now.shape}; load it into the module that it was saved from."
                )
        with torch.no_grad():
            for name, buffer in self.module.named_buffers():
                if name in mine:
                    buffer.copy_(torch.as_tensor(np.array(saved[name])))


def _host(buffer: torch.Tensor) -> torch.Tensor:
    if buffer.is_floating_point() and buffer.dtype not in NUMPY_FLOATS:
        buffer = buffer.float()  # bfloat16 and smaller ones: all their values, exactly
    return buffer.cpu()


class RandomNumbers:
    """The states of torch's generators on the host and on one device."""

    def __init__(self, device: torch.device) -> None:
        self.devices = [torch.device("cpu")]
        self._get: list[Callable[[], torch.Tensor]] = [torch.get_rng_state]
        self._set: list[Callable[[torch.Tensor], object]] = [torch.set_rng_state]
        backend: Any = getattr(torch, device.type, None)
        if device.type != "cpu" and hasattr(backend, "get_rng_state"):
            where = {} if device.type == "mps" else {"device": device}
            self.devices.append(device)
            self._get.append(partial(backend.get_rng_state, **where))
            self._set.append(partial(backend.set_rng_state, **where))

    def states(self) -> list[torch.Tensor]:
        """Return the states as they are."""
        return [get() for get in self._get]

    def restore(self, states: list[torch.Tensor]) -> None:
        """Put the generators into these states."""
        for put, state in zip(self._set, states, strict=True):
            put(state)

    def seeded(self, seed: int) -> list[torch.Tensor]:
        """Return the states after seeding with `seed`."""
        return [torch.Generator(device=d).manual_seed(seed).get_state() for d in self.devices]

    @contextmanager
    def fixed(self, states: list[torch.Tensor]) -> Iterator[None]:
        """Run the body from `states`, and restore those from before."""
        before = self.states()
        self.restore(states)
        try:
            yield
        finally:
            self.restore(before)


@contextmanager
def mode_of(module: torch.nn.Module, training: bool | None) -> Iterator[None]:
    """Run the body with `module` in training or evaluation mode; None leaves it as it is."""
    if training is None:
        yield
        return
    before = [(part, part.training) for part in module.modules()]
    try:
        module.train(training)
        yield
    finally:
        for part, was in before:
            part.training = was
