"""A module in training: its data-parallel wrapper, its optimizer, and the guard before every step."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parallel import DistributedDataParallel

from stprivacy.config import PhaseConfig
from stprivacy.models.transformer import Layer
from stprivacy.optim import learning_rate, make_optimizer, set_learning_rate
from stprivacy.phases.context import PhaseContext


class NonFiniteError(FloatingPointError):
    """A loss or gradient that is not a number: training stopped before the step that would have used it."""


class Learner:
    """`module` trained on its own loss. Calling it runs the data-parallel forward pass."""

    def __init__(self, name: str, module: nn.Module, settings: PhaseConfig, context: PhaseContext) -> None:
        self.name = name
        self.step = 0
        self.total_steps = 0  # after which it no longer learns; 0: it learns to the phase's end
        self.held_epochs = 0  # for which the rate stays at its peak
        self.waiting_epochs = 0  # before which it does not learn
        self.module = module.to(context.device).train()
        for layer in self.module.modules():
            if isinstance(layer, Layer):
                layer.recompute = settings.recompute_activations
                # Layer by layer: seconds, not minutes, and the mask's gradient still shows outside of compiled code.
                if settings.compile:
                    layer.compile()
        self.optimizer = make_optimizer(self.module, settings.optim)
        self._parallel: Callable[..., Any] = context.wrap(self.module)
        self._settings = settings
        self._device = context.device.type
        self._context = context

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The data-parallel forward pass."""
        with self._autocast():
            return self._parallel(*args, **kwargs)

    def frozen(self, *args: Any, **kwargs: Any) -> Any:
        """A forward pass through which gradients reach the inputs and not the weights."""
        weights = {name: parameter.detach() for name, parameter in self.module.named_parameters()}
        with self._autocast():
            return functional_call(self.module, weights, args, kwargs)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device, torch.bfloat16, enabled=self._settings.amp)

    def accumulating(self, more_to_come: bool) -> AbstractContextManager[Any]:
        """Inside it, the reduction over workers is left to the last backward pass of a step."""
        parallel = self._parallel
        return parallel.no_sync() if more_to_come and isinstance(parallel, DistributedDataParallel) else nullcontext()

    def begin(self, step: int) -> None:
        """Prepare for `step`; the loop calls it on every worker before the first share of the batch."""
        self.step = step
        self.share_buffers()

    @property
    def done(self) -> bool:
        """Whether it has learned to its own end, while others still learn."""
        return 0 < self.total_steps <= self.step

    @property
    def at_rest(self) -> bool:
        """Whether nothing was learned since the last update, so that there is nothing to update by."""
        return all(parameter.grad is None for parameter in self.module.parameters())

    @torch.no_grad()
    def share_buffers(self) -> None:
        """Give every worker the first one's buffers: statistics that a forward pass has moved."""
        buffers = list(self.module.buffers()) if self._context.world_size > 1 else []
        # One message for each type: normalisation layers have dozens of small buffers.
        for kind in dict.fromkeys(buffer.dtype for buffer in buffers):
            alike = [buffer for buffer in buffers if buffer.dtype == kind]
            own = torch.cat([buffer.flatten() for buffer in alike])
            shared = self._context.sum(own if self._context.rank == 0 else torch.zeros_like(own))
            for buffer, values in zip(alike, shared.split_with_sizes([x.numel() for x in alike]), strict=True):
                buffer.copy_(values.view_as(buffer))

    def clip_gradient(self, phase: str, step: int) -> Tensor:
        """Clip the accumulated gradient; returns its norm before. Raises: NonFiniteError: the norm is not finite."""
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), self._settings.optim.clip_gradient_norm)
        check_finite(phase, step, {f"gradient norm of the {self.name}": norm})
        return norm

    def update(self, step: int, total_steps: int, steps_per_epoch: int) -> None:
        """One optimizer step at the rate of `step`."""
        optim = self._settings.optim
        waited, held = (epochs * steps_per_epoch for epochs in (self.waiting_epochs, self.held_epochs))
        own = step - waited, total_steps - waited
        rate = learning_rate(optim, self._settings.batch_size, *own, steps_per_epoch, held)
        set_learning_rate(self.optimizer, optim, rate, step // steps_per_epoch)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def check_finite(phase: str, step: int, terms: dict[str, Tensor]) -> None:
    """Raise NonFiniteError naming the first term that is not finite."""
    for name, value in terms.items():
        if not torch.isfinite(value).all():
            raise NonFiniteError(
                f"phase {phase}, step {step}: {name} is {value.item()}; no weights were changed. "
                "Lower the learning rate or lambda_privacy, or use privacy_objective=bounded, mask_gradient=bounded"
            )
