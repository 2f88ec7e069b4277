"""The nets that come with the workbench: 32x32x3 in, 10 classes out, sized for 256 KB of SRAM.

Every net takes an NCHW float tensor whose values are pixel / 255, in [0, 1], so that the 8-bit
quantized input is the raw pixel itself (scale 1/255, zero_point 0). Batch norm absorbs what a
mean and standard deviation would otherwise do.
"""

from collections.abc import Callable
from types import MappingProxyType

import torch
from torch import Tensor, nn

from mcuq_lab.errors import ModelError


def _conv_bn(
    ic: int, oc: int, kernel: int, *, stride: int = 1, groups: int = 1, act: type | None = nn.ReLU
) -> nn.Sequential:
    conv = nn.Conv2d(ic, oc, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers = [conv, nn.BatchNorm2d(oc)]
    if act is not None:
        layers.append(act())
    return nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, ic: int, oc: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv_bn(ic, oc, 3, stride=stride)
        self.conv2 = _conv_bn(oc, oc, 3, act=None)
        same_shape = stride == 1 and ic == oc
        self.shortcut = (
            nn.Identity() if same_shape else _conv_bn(ic, oc, 1, stride=stride, act=None)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv2(self.conv1(x)) + self.shortcut(x))


class ResNet8(nn.Module):
    """The image-classification net of MLPerf Tiny (Banbury et al. 2021): 12.5 M MACs."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = _conv_bn(3, 16, 3)
        self.stack1 = ResidualBlock(16, 16, stride=1)
        self.stack2 = ResidualBlock(16, 32, stride=2)
        self.stack3 = ResidualBlock(32, 64, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stack3(self.stack2(self.stack1(self.stem(x))))
        return self.fc(self.pool(x).flatten(1))


class MobileNetV1(nn.Module):
    """MobileNet v1 (Howard et al. 2017), width 0.25; the stem keeps 32x32, four strides follow."""

    # (output channels, stride) of each depthwise-separable pair.
    PAIRS = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)) + ((128, 1),) * 5
    LAST_PAIRS = ((256, 2), (256, 1))

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers, channels = [_conv_bn(3, 8, 3)], 8
        for oc, stride in self.PAIRS + self.LAST_PAIRS:
            layers.append(_conv_bn(channels, channels, 3, stride=stride, groups=channels))
            layers.append(_conv_bn(channels, oc, 1))
            channels = oc
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.features(x)).flatten(1))


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1 without activation; added to its input if it can."""

    def __init__(self, ic: int, oc: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = ic * expansion
        layers = [] if expansion == 1 else [_conv_bn(ic, hidden, 1, act=nn.ReLU6)]
        layers.append(_conv_bn(hidden, hidden, 3, stride=stride, groups=hidden, act=nn.ReLU6))
        layers.append(_conv_bn(hidden, oc, 1, act=None))
        self.body = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and ic == oc

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return x + y if self.has_shortcut else y


class MobileNetV2(nn.Module):
    """A small MobileNet v2 (Sandler et al. 2018): the widest map is 32x32x48."""

    # (expansion, output channels, repeats, stride of the first), as in the paper's table 2.
    SETTINGS = ((1, 8, 1, 1), (6, 16, 2, 2), (6, 24, 2, 2), (6, 32, 2, 2))

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv_bn(3, 16, 3, act=nn.ReLU6)]
        channels = 16
        for expansion, oc, repeats, first_stride in self.SETTINGS:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                layers.append(InvertedResidual(channels, oc, stride, expansion))
                channels = oc
        layers.append(_conv_bn(channels, 128, 1, act=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(128, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((2, 3)))


class VggTiny(nn.Module):
    """Three stages of two 3x3 convolutions and a max pool; the classifier reads a 4x4x64 map."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers, channels = [], 3
        for oc in (16, 32, 64):
            layers += [_conv_bn(channels, oc, 3), _conv_bn(oc, oc, 3), nn.MaxPool2d(2)]
            channels = oc
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(0.1)
        self.fc = nn.Linear(4 * 4 * channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.dropout(self.features(x).flatten(1)))


class Fire(nn.Module):
    """Squeeze 1x1, then 1x1 and 3x3 side by side, joined over channels (Iandola et al. 2016)."""

    def __init__(self, ic: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = _conv_bn(ic, squeeze, 1)
        self.expand1x1 = _conv_bn(squeeze, expand, 1)
        self.expand3x3 = _conv_bn(squeeze, expand, 3)

    def forward(self, x: Tensor) -> Tensor:
        s = self.squeeze(x)
        return torch.cat((self.expand1x1(s), self.expand3x3(s)), dim=1)


class SqueezeNetTiny(nn.Module):
    """Five fire modules; the classifier is a 1x1 convolution whose maps are averaged."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _conv_bn(3, 16, 3),
            nn.MaxPool2d(2),
            Fire(16, 8, 16),
            Fire(32, 8, 16),
            nn.MaxPool2d(2),
            Fire(32, 16, 32),
            Fire(64, 16, 32),
            nn.MaxPool2d(2),
            Fire(64, 24, 48),
        )
        self.classifier = nn.Conv2d(96, classes, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.classifier(self.features(x))).flatten(1)


ZOO: MappingProxyType[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "resnet8": ResNet8,
        "mobilenet_v1": MobileNetV1,
        "mobilenet_v2": MobileNetV2,
        "vgg_tiny": VggTiny,
        "squeezenet_tiny": SqueezeNetTiny,
    }
)


def build_model(name: str, classes: int = 10) -> nn.Module:
    """A net of the zoo with fresh (random) weights, in training mode.

    Raises ModelError for a name that is not in ZOO.
    """
    if name not in ZOO:
        raise ModelError(
            f"model {name!r} is not in the zoo; choose one of {', '.join(ZOO)}, "
            "or bring a torch.nn.Module of your own to models.import_module"
        )
    return ZOO[name](classes)
