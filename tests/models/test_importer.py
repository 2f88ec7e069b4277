"""A net of torch and its Graph must give the same numbers; what cannot be said is refused."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mcuq_lab.errors import ModelError
from mcuq_lab.graph import (
    Activation,
    AveragePool,
    Concat,
    DepthwiseConv2d,
    Flatten,
    FullyConnected,
    GlobalAveragePool,
)
from mcuq_lab.models import ZOO, build_model, import_module
from mcuq_lab.models.float_executor import run_float

torch.set_num_threads(1)


def randomise_batch_norm(module: nn.Module, seed: int = 0) -> nn.Module:
    """Statistics and affine parameters as after a training, so that folding them matters."""
    generator = torch.Generator().manual_seed(seed)
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d):
            n = m.num_features
            m.running_mean.copy_(torch.randn(n, generator=generator) * 0.3)
            m.running_var.copy_(torch.rand(n, generator=generator) + 0.3)
            m.weight.data.copy_(torch.rand(n, generator=generator) + 0.5)
            m.bias.data.copy_(torch.randn(n, generator=generator) * 0.3)
    return module.eval()


def difference(module: nn.Module, graph, shape=(3, 32, 32)) -> float:
    """Largest difference of the outputs relative to the largest output."""
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = module.eval()(x)
    if expected.ndim == 4:
        expected = expected.permute(0, 2, 3, 1).squeeze((1, 2))
    found = run_float(graph, x.permute(0, 2, 3, 1))
    assert found.shape == tuple(expected.shape)
    assert expected.abs().max() > 1e-3, "a net that yields nothing proves nothing"
    return float(np.abs(found - expected.numpy()).max() / expected.abs().max())


@pytest.mark.parametrize("name", ZOO)
def test_zoo_graph_equals_torch(name):
    torch.manual_seed(0)
    module = randomise_batch_norm(build_model(name))
    graph = import_module(module, name=name)
    assert difference(module, graph) < 1e-4
    assert graph.nodes[-1] is graph.output
    assert all(layer.weight.dtype == np.float32 for layer in graph.layers)


def test_a_wrong_weight_would_be_seen():
    module = randomise_batch_norm(build_model("resnet8"))
    graph = import_module(module)
    graph.layers[3].weight[0, 0, 0, 0] += 1.0
    assert difference(module, graph) > 1e-4


def test_resnet8_structure():
    graph = import_module(build_model("resnet8"), name="resnet8")
    assert graph.total_macs == 12_501_632
    assert [layer.name for layer in graph.layers] == [
        "stem",
        "stack1_conv1",
        "stack1_conv2",
        "stack2_conv1",
        "stack2_conv2",
        "stack2_shortcut",
        "stack3_conv1",
        "stack3_conv2",
        "stack3_shortcut",
        "fc",
    ]
    assert graph.by_name["stack1_add"].activation is Activation.RELU
    assert graph.by_name["stack1_conv2"].activation is Activation.NONE
    assert [type(n).__name__ for n in graph.nodes[-2:]] == ["GlobalAveragePool", "FullyConnected"]


def test_the_users_module_is_left_alone():
    module = build_model("resnet8").train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    import_module(module)
    assert module.training
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


class UsersNet(nn.Module):
    """What people write: functional calls, in-place activations, pooling before ReLU, biases."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 8, 3, padding="same")
        self.depthwise = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
        self.norm = nn.BatchNorm2d(8)
        self.fc1 = nn.Linear(8 * 3 * 2, 20)
        self.norm1d = nn.BatchNorm1d(20)
        self.fc2 = nn.Linear(20, 5)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        y = self.conv2(x)
        y = F.hardtanh(y, 0, 6, inplace=True)
        y = F.relu6(self.norm(self.depthwise(y)))
        y = y.view(y.size(0), -1)
        y = F.dropout(y, 0.5, self.training)
        y = F.relu_(self.norm1d(self.fc1(y)))
        return self.fc2(y)


def test_users_net_with_flatten_of_a_map():
    torch.manual_seed(3)
    module = randomise_batch_norm(UsersNet())
    graph = import_module(module, (1, 16, 12), name="users")
    assert difference(module, graph, (1, 16, 12)) < 1e-4
    assert any(isinstance(n, Flatten) for n in graph.nodes)
    assert any(isinstance(n, DepthwiseConv2d) for n in graph.nodes)
    assert graph.by_name["conv1"].activation is Activation.RELU
    assert graph.by_name["conv2"].activation is Activation.RELU6


def net(forward, **layers) -> nn.Module:
    """A module from a forward function and layers."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            for name, layer in layers.items():
                self.add_module(name, layer)

        def forward(self, x):
            return forward(self, x)

    torch.manual_seed(0)
    return Net()


def conv(ic=3, oc=4, k=3, **rest):
    return nn.Conv2d(ic, oc, k, padding=rest.pop("padding", k // 2), **rest)


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (net(lambda m, x: F.adaptive_avg_pool2d(m.c(x), (4, 2)), c=conv()), AveragePool),
        (net(lambda m, x: F.avg_pool2d(m.c(x), (2, 4)), c=conv()), AveragePool),
        (net(lambda m, x: m.c(x).mean((-1, -2)), c=conv()), GlobalAveragePool),
        (net(lambda m, x: m.c(x).mean([2, 3], keepdim=True), c=conv()), GlobalAveragePool),
        (net(lambda m, x: F.avg_pool2d(m.c(x), 8), c=conv()), GlobalAveragePool),
        (net(lambda m, x: F.relu(torch.cat([m.a(x), m.b(x)], 1)), a=conv(), b=conv(oc=2)), Concat),
        (
            net(
                lambda m, x: m.f(F.adaptive_avg_pool2d(m.c(x), 1).squeeze((2, 3))),
                c=conv(),
                f=nn.Linear(4, 2),
            ),
            FullyConnected,
        ),
    ],
)
def test_forms_of_pooling_and_joining(module, kind):
    graph = import_module(module, (3, 8, 8))
    assert difference(module, graph, (3, 8, 8)) < 1e-4
    assert any(isinstance(n, kind) for n in graph.nodes)


def test_in_place_activation_is_seen_by_later_readers():
    module = net(lambda m, x: (lambda a: F.relu_(a) + m.b(a))(m.a(x)), a=conv(), b=conv(4, 4))
    graph = import_module(module, (3, 8, 8))
    assert difference(module, graph, (3, 8, 8)) < 1e-4


def test_shared_module_becomes_two_layers():
    module = net(lambda m, x: m.b(m.b(m.a(x))), a=conv(), b=conv(4, 4))
    graph = import_module(module, (3, 8, 8))
    assert [n.name for n in graph.layers] == ["a", "b", "b_2"]
    assert difference(module, graph, (3, 8, 8)) < 1e-4


def test_layers_named_by_numbers_get_names():
    module = nn.Sequential(conv(), nn.ReLU(), nn.Identity(), conv(4, 4), nn.Flatten())
    graph = import_module(nn.Sequential(*module[:4]), (3, 8, 8))
    assert [n.name for n in graph.layers] == ["conv2d_0", "conv2d_3"]


def preactivation(m, x):
    y = m.a(x)
    return F.relu(y) + y


def read_before_pool(m, x):
    y = m.a(x)
    pooled = F.max_pool2d(y, 2)
    other = m.b(y)
    return F.max_pool2d(other, 2) + F.relu(pooled)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (
            net(lambda m, x: F.hardswish(m.c(x)), c=conv()),
            ["aten.hardswish", "ReLU6 in its place", "Supported: conv2d"],
        ),
        (net(lambda m, x: torch.sigmoid(m.c(x)), c=conv()), ["aten.sigmoid", "test_importer.py"]),
        (nn.Sequential(conv(), nn.Sequential(nn.SiLU())), ["aten.silu", "module 1.0"]),
        (net(lambda m, x: m.c((x - 0.5) / 0.2), c=conv()), ["aten.sub", "pixel / 255"]),
        (net(lambda m, x: m.c(x) + 1.0, c=conv()), ["aten.add", "constant 1.0"]),
        (net(lambda m, x: m.c(x), c=conv(4, 4, groups=2)), ["groups=2", "depthwise"]),
        (net(lambda m, x: m.c(x), c=conv(4, 8, groups=4)), ["groups=4", "8 output channels"]),
        (net(lambda m, x: m.c(x), c=conv(4, 4, dilation=2)), ["dilation"]),
        (net(lambda m, x: F.max_pool2d(m.c(x), 3, 2, 1), c=conv(4)), ["max_pool2d", "padded"]),
        (net(lambda m, x: F.max_pool2d(m.c(x), 3, 2, ceil_mode=True), c=conv(4)), ["ceil_mode"]),
        (net(lambda m, x: F.adaptive_avg_pool2d(m.c(x), 3), c=conv(4)), ["divide"]),
        (net(preactivation, a=conv(4)), ["aten.relu", "read elsewhere"]),
        (net(read_before_pool, a=conv(4), b=conv(4)), ["aten.relu", "read elsewhere"]),
        (net(lambda m, x: m.n(F.relu(m.c(x))), c=conv(4), n=nn.BatchNorm2d(4)), ["batch_norm"]),
        (net(lambda m, x: m.c(x).flatten(1), c=conv(4)), ["flattened map"]),
        (net(lambda m, x: m.c(x).transpose(2, 3), c=conv(4)), ["aten.transpose"]),
        (net(lambda m, x: torch.cat([m.c(x), x], 2), c=conv(4)), ["over dimension 2"]),
        (net(lambda m, x: m.c(x) + x[:, :, :1, :1], c=conv(4)), ["aten.slice"]),
        (net(lambda m, x: m.c(x) + m.d(x), c=conv(4), d=nn.Conv2d(4, 4, 8)), ["aten.add"]),
        (net(lambda m, x: (m.c(x), x), c=conv(4)), ["2 tensors"]),
        (net(lambda m, x: F.relu(F.avg_pool2d(m.c(x), 2)), c=conv(4)), ["AveragePool"]),
        (net(lambda m, x: m.c(x) if x.sum() > 0 else x, c=conv(4)), ["torch.export"]),
    ],
)
def test_what_is_refused_is_named(module, words):
    c = next(p.shape[1] for p in module.parameters() if p.ndim == 4)
    c *= next(m.groups for m in module.modules() if isinstance(m, nn.Conv2d))
    with pytest.raises(ModelError) as caught:
        import_module(module.eval(), (c, 8, 8))
    for word in words:
        assert word in str(caught.value)
