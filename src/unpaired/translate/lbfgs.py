"""L-BFGS for images (Liu & Nocedal 1989): few evaluations, deterministic, without line-search settings.

torch's own imports its compiler at the first use, which takes longer than a small image.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

_MEMORY = 10
_FIRST_STEP = 0.05  # largest change of a value in the first step, before there is any curvature
_SUFFICIENT, _SHORTEST = 1e-4, 1e-4  # Armijo's constant, and the shortest step


def minimise(
    function: Callable[[Tensor], Tensor], start: Tensor, iterations: int, done: Callable[[int], None]
) -> Tensor:
    """Return the point after `iterations` steps from `start`, or earlier if no step decreases the function.

    Args:
        function: returns a scalar of a tensor of the shape of `start`, differentiable.
        start: the first point.
        iterations: the number of steps, each with one evaluation and its gradient, seldom more.
        done: called with the number of finished steps.
    """
    point = start.detach().clone()
    value, gradient = _evaluated(function, point)
    pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=_MEMORY)
    for iteration in range(1, iterations + 1):
        direction = _direction(gradient, pairs)
        slope = _dot(direction, gradient)
        if slope >= 0:  # rounding errors have spoilt the curvature
            pairs.clear()
            direction, slope = _direction(gradient, pairs), -_dot(gradient, gradient)
        if slope == 0:
            break
        step = 1.0
        while True:
            candidate = point + step * direction
            new_value, new_gradient = _evaluated(function, candidate)
            if new_value <= value + _SUFFICIENT * step * min(slope, 0.0):
                break
            step /= 4
            if step < _SHORTEST:
                return point
        change, difference = candidate - point, new_gradient - gradient
        if _dot(change, difference) > 1e-10 * _dot(difference, difference):
            pairs.append((change, difference))
        point, value, gradient = candidate, new_value, new_gradient
        done(iteration)
    return point


def _evaluated(function: Callable[[Tensor], Tensor], point: Tensor) -> tuple[float, Tensor]:
    """Return value and gradient; infinity where the value is NaN, so that no step goes there."""
    variable = point.detach().requires_grad_(True)
    value = function(variable)
    (gradient,) = torch.autograd.grad(value, variable)
    number = float(value.detach())
    return (number if number == number else float("inf")), gradient


def _direction(gradient: Tensor, pairs: deque[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the two-loop recursion; without pairs, the negative gradient at the length of a first step."""
    if not pairs:
        return -gradient * (_FIRST_STEP / max(float(gradient.abs().max()), 1e-30))
    q, factors = gradient.clone(), []
    for change, difference in reversed(pairs):
        factor = _dot(change, q) / _dot(change, difference)
        factors.append(factor)
        q -= factor * difference
    change, difference = pairs[-1]
    q *= _dot(change, difference) / _dot(difference, difference)
    for (change, difference), factor in zip(pairs, reversed(factors), strict=True):
        q += (factor - _dot(difference, q) / _dot(change, difference)) * change
    return -q


def _dot(x: Tensor, y: Tensor) -> float:
    return float((x.double() * y.double()).sum())
