"""A policy as an ONNX graph: flat observations in, π's parameters and the most likely action out.

Built node by node from θ: nothing depends on how torch traces a network, and ``onnx`` is all it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from gymnasium import spaces
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from pgrun import __version__
from pgrun.atomic_files import write_bytes
from pgrun.envs import Envs
from pgrun.envs.spaces import box_bounds
from pgrun.errors import InvalidCommand
from pgrun.policies.clipped import ClippedGaussian
from pgrun.policies.distributions import Categorical, Gaussian
from pgrun.policies.mlp import Mlp
from pgrun.policies.normalization import RunningNorm
from pgrun.policies.pair import Pair
from pgrun.policies.policy import Policy
from pgrun.policies.rescaled import Rescaled

OPSET, IR = 20, 9  # the first opset with Gelu, of 2023
OPERATORS = {"tanh": "Tanh", "relu": "Relu", "elu": "Elu", "gelu": "Gelu"}
BATCH = "batch"


class GraphBuilder:
    """Nodes and constants, each named by its number."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        name = output or f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, values: np.ndarray | Tensor) -> str:
        name = f"c{len(self.constants)}"
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name


def write_onnx(file: Path, policy: Policy, envs: Envs) -> str:
    """Write the graph of a torch policy; what goes in and comes out, for the terminal.

    Raises ``InvalidCommand`` for a policy that it has no nodes for.
    """
    refuse_unknown_to_onnx(policy)
    graph = GraphBuilder()
    x = add_normalisation(graph, policy)
    y = add_network(graph, policy.net, policy.theta, x)
    add_parameters(graph, policy, y)
    add_action(graph, policy, envs.action_space)
    model = make_onnx_model(graph, policy, envs)
    onnx.checker.check_model(model, full_check=True)
    write_bytes(file, model.SerializeToString())
    shapes = (f"{v.name} {shape_of(v)}" for v in (*model.graph.input, *model.graph.output))
    return f"{file}: {', '.join(shapes)}"


def shape_of(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    kind = TensorProto.DataType.Name(tensor.elem_type).lower()
    return f"[{', '.join(d.dim_param or str(d.dim_value) for d in tensor.shape.dim)}] {kind}"


def refuse_unknown_to_onnx(policy: Policy) -> None:
    net = policy.net.actor if isinstance(policy.net, Pair) else policy.net
    net = net.net if isinstance(net, Rescaled) else net
    if not isinstance(net, Mlp):
        raise InvalidCommand(
            "--export",
            None,
            f"a network of kind {type(net).__name__} has no graph here: multi-layer perceptrons "
            "without a mask of actions have",
            "torch.onnx.export writes a network of your own",
        )
    if type(policy.dist) not in (Categorical, Gaussian, ClippedGaussian):
        raise InvalidCommand(
            "--export",
            None,
            f"actions of kind {type(policy.dist).__name__} have no graph here: one discrete action, "
            "and policy=gaussian or clipped, have",
        )


def add_normalisation(graph: GraphBuilder, policy: Policy) -> str:
    """(s − mean)·scale, clipped to ±10, in float64 until that is done."""
    x = "obs"
    if isinstance(policy.normaliser, RunningNorm):
        x = graph.add("Sub", x, graph.constant(policy.normaliser.mean))
        x = graph.add("Mul", x, graph.constant(policy.normaliser.scale))
        x = graph.add("Clip", x, graph.constant(np.array(-10.0)), graph.constant(np.array(10.0)))
    return graph.add("Cast", x, to=TensorProto.FLOAT)


def add_network(graph: GraphBuilder, net: Any, theta: Tensor, x: str) -> str:
    """Its outputs: those of the actor, V in front where there is one trunk, then the free ones."""
    if isinstance(net, Pair):
        return add_network(graph, net.actor, theta[net.critic.size :], x)
    if isinstance(net, Rescaled):
        y = add_network(graph, net.net, theta, x)
        return graph.add("Mul", y, graph.constant(net.scale.float()))
    layers, free = net.layers(theta)
    for k, (weight, bias) in enumerate(layers):
        terms = [] if bias is None else [graph.constant(bias)]
        x = graph.add("Gemm", x, graph.constant(weight), *terms, transB=1)
        if k < len(layers) - 1:
            x = add_activation(graph, net.activation, x)
    return add_free_outputs(graph, x, free) if len(free) else x


def add_activation(graph: GraphBuilder, name: str, x: str) -> str:
    if name == "silu":
        return graph.add("Mul", x, graph.add("Sigmoid", x))
    return graph.add(OPERATORS[name], x)


def add_free_outputs(graph: GraphBuilder, x: str, free: Tensor) -> str:
    """log σ of no state, beside each row of [B, out]."""
    rows = graph.add("Slice", graph.add("Shape", x), *map(graph.constant, int64s([0], [1])))
    shape = graph.add("Concat", rows, graph.constant(np.array([len(free)])), axis=0)
    return graph.add("Concat", x, graph.add("Expand", graph.constant(free), shape), axis=1)


def int64s(*values: Sequence[int]) -> list[np.ndarray]:
    return [np.array(value, np.int64) for value in values]


def columns(graph: GraphBuilder, x: str, first: int, last: int, output: str = "") -> str:
    return graph.add("Slice", x, *map(graph.constant, int64s([first], [last], [1])), output=output)


def add_parameters(graph: GraphBuilder, policy: Policy, y: str) -> None:
    """Without V, which a joint vector (``Pair``) has not brought along."""
    skipped = 0 if isinstance(policy.net, Pair) else policy.value_outputs
    columns(graph, y, skipped, np.iinfo(np.int64).max, output="params")


def add_action(graph: GraphBuilder, policy: Policy, space: spaces.Space[Any]) -> None:
    """The mode, as ``action_decoder`` gives it to the environment."""
    if isinstance(space, spaces.Discrete):
        best = graph.add("ArgMax", "params", axis=1, keepdims=0)
        graph.add("Add", best, graph.constant(np.array(space.start, np.int64)), output="action")
        return
    assert isinstance(space, spaces.Box)
    low, high = box_bounds(space)
    finite = np.isfinite(low) & np.isfinite(high)
    bottom, top = np.where(finite, low, -1.0), np.where(finite, high, 1.0)
    a = graph.add("Cast", columns(graph, "params", 0, policy.dist.linear), to=TensorProto.DOUBLE)
    a = graph.add("Mul", a, graph.constant(((top - bottom) / 2).ravel()))
    a = graph.add("Add", a, graph.constant(((top + bottom) / 2).ravel()))
    a = graph.add("Min", graph.add("Max", a, graph.constant(low.ravel())), graph.constant(high.ravel()))
    a = graph.add("Reshape", a, graph.constant(np.array([-1, *space.shape], np.int64)))
    graph.add("Cast", a, to=helper.np_dtype_to_tensor_dtype(np.dtype(space.dtype)), output="action")


def make_onnx_model(graph: GraphBuilder, policy: Policy, envs: Envs) -> onnx.ModelProto:
    space, info = envs.action_space, helper.make_tensor_value_info
    discrete = isinstance(space, spaces.Discrete)
    kind = TensorProto.INT64 if discrete else helper.np_dtype_to_tensor_dtype(np.dtype(space.dtype))
    width = policy.dist.linear + policy.dist.free
    body = helper.make_graph(
        graph.nodes,
        "pgrun",
        [info("obs", TensorProto.DOUBLE, [BATCH, envs.obs_size])],
        [
            info("params", TensorProto.FLOAT, [BATCH, width]),
            info("action", kind, [BATCH, *(() if discrete else space.shape or ())]),
        ],
        graph.constants,
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(
        body, opset_imports=[opset], ir_version=IR, producer_name="pgrun", producer_version=__version__
    )
