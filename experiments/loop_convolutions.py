"""Convolutions in loops of JAX on a processor, as fast as outside of loops.

XLA has a fast convolution for processors, for axes in one order: batch, height, width, channels,
and height, width, channels in, channels out for filters. In the main part of a program it brings
others into this order first, such as those of a gradient with respect to filters. In the body of a
loop it does not: they take its general code, with which a training step in a loop took 21 times as
long as outside (classifier A; SFL-VAE 7 times). So the function is traced, and each of its
convolutions is replaced by one in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["with_ordered_convolutions"]

_INLINED = ("jit", "pjit")
"""Calls of functions, whose convolutions are replaced too."""


def with_ordered_convolutions(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function with the same results whose convolutions have their axes in order.

    Args:
        function: Takes and returns structures of arrays, without keywords; it is traced at each
            call, so call it in a program that is traced itself.
    """
    import jax

    def ordered(*arguments: Any) -> Any:
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        results = _evaluated(traced, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return ordered


def _evaluated(traced: Any, inputs: Sequence[Any]) -> list[Any]:
    """The results of a traced function, operation by operation."""
    from jax.extend.core import Literal

    values = dict(zip(traced.jaxpr.constvars, traced.consts, strict=True))
    values |= dict(zip(traced.jaxpr.invars, inputs, strict=True))

    def read(variables: Sequence[Any]) -> list[Any]:
        return [v.val if isinstance(v, Literal) else values[v] for v in variables]

    for operation in traced.jaxpr.eqns:
        primitive, settings = operation.primitive, operation.params
        operands = read(operation.invars)
        if primitive.name == "conv_general_dilated":
            results = [_ordered_convolution(*operands, **settings)]
        elif primitive.name in _INLINED:
            results = _evaluated(settings["jaxpr"], operands)
        else:
            results = primitive.bind(*operands, **primitive.get_bind_params(settings))
            results = results if primitive.multiple_results else [results]
        values |= dict(zip(operation.outvars, results, strict=True))
    return read(traced.jaxpr.outvars)


def _ordered_convolution(
    images: Any, filters: Any, *, dimension_numbers: Any, **settings: Any
) -> Any:
    """A convolution by its definition in JAX, with axes in order and back.

    The three parts of ``dimension_numbers`` name the axes of the batch, the channels and the space
    of images and results, and those of the channels out, the channels in and the space of filters.
    """
    from jax import lax

    of_images, of_filters, of_results = dimension_numbers
    images = lax.transpose(images, (of_images[0], *of_images[2:], of_images[1]))
    filters = lax.transpose(filters, (*of_filters[2:], of_filters[1], of_filters[0]))
    last = len(of_images) - 1
    space = tuple(range(1, last))
    in_order = lax.ConvDimensionNumbers(
        (0, last, *space), (last, last - 1, *range(last - 1)), (0, last, *space)
    )
    results = lax.conv_general_dilated_p.bind(
        images, filters, dimension_numbers=in_order, **settings
    )
    return lax.transpose(results, np.argsort([of_results[0], *of_results[2:], of_results[1]]))
