"""Sizes of the zoo: the numbers that the literature and the boards' memories are compared with."""

import pytest
import torch
from torch import nn

from mcuq_lab.errors import ModelError
from mcuq_lab.models import ZOO, build_model, import_module

FLASH_BYTES, SRAM_BYTES = 1024 * 1024, 256 * 1024


def macs_by_hooks(module: nn.Module) -> int:
    """Multiply-accumulates, counted in torch from each layer's own output."""
    counts = []

    def count(layer, inputs, output):
        counts.append(output[0].numel() * layer.weight[0].numel())

    for layer in module.modules():
        if is_layer(layer):
            layer.register_forward_hook(count)
    module.eval()(torch.zeros(1, 3, 32, 32))
    return sum(counts)


@pytest.mark.parametrize("name", ZOO)
def test_graph_counts_what_torch_does(name):
    module = build_model(name)
    graph = import_module(module)
    assert graph.total_macs == macs_by_hooks(module)
    folded = sum(m.weight.numel() + m.weight.shape[0] for m in module.modules() if is_layer(m))
    assert graph.parameter_count == folded


def is_layer(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.Linear)


def test_resnet8_by_hand():
    """3x3x16 stem; two 3x3 a block at 32x32x16, 16x16x32, 8x8x64; 1x1 shortcuts; 64 -> 10."""
    stem = 32 * 32 * 27 * 16
    first = 2 * 32 * 32 * 9 * 16 * 16
    second = 16 * 16 * (9 * 16 * 32 + 9 * 32 * 32 + 16 * 32)
    third = 8 * 8 * (9 * 32 * 64 + 9 * 64 * 64 + 32 * 64)
    assert stem + first + second + third + 64 * 10 == 12_501_632
    assert import_module(build_model("resnet8")).total_macs == 12_501_632


@pytest.mark.parametrize("name", ZOO)
def test_fits_the_boards_at_8_bits(name):
    graph = import_module(build_model(name))
    assert graph.parameter_count < FLASH_BYTES // 2
    widest = max(
        sum(s.size for s in graph.input_shapes(node)) + graph.shapes[node.name].size
        for node in graph.nodes[1:]
    )
    assert widest < SRAM_BYTES // 2


@pytest.mark.parametrize("name", ZOO)
def test_every_parameter_learns(name):
    torch.manual_seed(0)
    module = build_model(name).train()
    loss = nn.functional.cross_entropy(module(torch.rand(4, 3, 32, 32)), torch.arange(4))
    loss.backward()
    for path, parameter in module.named_parameters():
        assert parameter.grad.abs().sum() > 0, path


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ModelError, match=r"'resnet9'.*resnet8.*import_module"):
        build_model("resnet9")
