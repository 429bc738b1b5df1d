"""Networks for images with a run axis: a convolutional encoder, and random shifts of its input.

Axes: R runs, B images of a run, C channels, H rows and W columns of pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqeval_rl.errors import UsageError
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.networks.initialization import draw_kernel
from seqeval_rl.networks.layer_norm import LayerNorm
from seqeval_rl.networks.modules import MLP
from seqeval_rl.seeding import torch_generator

CHANNELS, KERNEL, STRIDES = 32, 3, (2, 1, 1, 1)


def random_shift(images: Tensor, shifts: Tensor, most: int) -> Tensor:
    """Images moved by whole pixels; what enters at a border repeats the border (DrQ-v2, arXiv 2107.09645, section 3.1).

    The authors pad by `most` pixels and sample a grid bilinearly at whole pixels, which is this up to rounding.

    Args:
        images: [R, B, C, H, W].
        shifts: of each image to the left and up, plus `most`: whole numbers from 0 to 2 `most`, [R, B, 2] int64.
        most: the largest shift, in pixels.
    """
    height, width = images.shape[-2:]
    down, right = (torch.arange(size, device=images.device) - most for size in (height, width))
    rows = (down + shifts[..., 1:]).clamp(0, height - 1)
    columns = (right + shifts[..., :1]).clamp(0, width - 1)
    places = (rows.unsqueeze(-1) * width + columns.unsqueeze(-2)).flatten(-2)  # [R, B, H W]
    pixels = images.flatten(-2)
    return pixels.gather(-1, places.unsqueeze(-2).expand(pixels.shape)).view(images.shape)


class Encoder(nn.Module):
    """The convolutional encoder of DrQ-v2: four layers of 3 x 3 with 32 channels and ReLU, the first of stride 2.

    On a CPU the runs are encoded one after the other, so that each is the same to the last bit in every run group; elsewhere by
    one grouped convolution.
    """

    def __init__(self, spec: Spec, purpose: str) -> None:
        """Draws the weights, orthogonal as the authors', from the seeds and `purpose`.

        Raises:
            UsageError: observations are no images, or smaller than 15 x 15 pixels.
        """
        super().__init__()
        channels, height, width = spec.image_shape
        sides = []
        for side in (height, width):
            for stride in STRIDES:
                side = (side - KERNEL) // stride + 1
            sides.append(side)
        if min(sides) < 1:
            raise UsageError(
                f"expected images of at least 15 x 15 pixels, found {height} x {width}. Choose larger ones."
            )
        self.features = CHANNELS * sides[0] * sides[1]  # numbers that an image is encoded as
        inputs = (channels, *[CHANNELS] * (len(STRIDES) - 1))
        kernels = [torch.empty(spec.runs, CHANNELS, each, KERNEL, KERNEL) for each in inputs]
        for r, seed in enumerate(spec.seeds):
            generator = torch_generator(seed, purpose)
            for kernel in kernels:
                draw_kernel(kernel[r], generator)
        self.kernels = nn.ParameterList([kernel.to(spec.device) for kernel in kernels])  # [R, out, in, 3, 3]
        self.biases = nn.ParameterList([torch.zeros(spec.runs, CHANNELS, device=spec.device) for _ in STRIDES])

    def forward(self, images: Tensor) -> Tensor:
        """Pixels from 0 to 255, [R, B, C, H, W] -> [R, B, features]."""
        x = images / 255 - 0.5
        if x.device.type == "cpu":
            kernels, biases = ([p.unbind() for p in each] for each in (self.kernels, self.biases))
            each = [
                self._convolved(x[r], [k[r] for k in kernels], [b[r] for b in biases], 1) for r in range(len(images))
            ]
            return torch.stack(each).flatten(2)
        return self.together(x)

    def together(self, x: Tensor) -> Tensor:
        """The same by one convolution: the channels of each run, which come after those of the run before, are a group."""
        x = self._convolved(
            x.transpose(0, 1).flatten(1, 2),
            [kernel.flatten(0, 1) for kernel in self.kernels],
            [bias.flatten() for bias in self.biases],
            len(x),
        )
        return x.unflatten(1, (-1, CHANNELS)).transpose(0, 1).flatten(2)

    @staticmethod
    def _convolved(x: Tensor, kernels: list[Tensor], biases: list[Tensor], groups: int) -> Tensor:
        for kernel, bias, stride in zip(kernels, biases, STRIDES, strict=True):
            x = functional.conv2d(x, kernel, bias, stride, groups=groups).relu()
        return x


class Trunk(nn.Module):
    """A few features of encoded images, as DrQ-v2's networks begin: linear, layer normalization, tanh."""

    def __init__(self, spec: Spec, purpose: str, inputs: int, features: int) -> None:
        super().__init__()
        self.linear = MLP(spec, purpose, inputs, (), features, initialization="drqv2")
        self.norm = LayerNorm(spec, features)

    def forward(self, encoded: Tensor, frozen: bool = False) -> Tensor:
        """[R, B, inputs] -> [R, B, features]."""
        features: Tensor = self.norm(self.linear(encoded, frozen=frozen).squeeze(1))
        return features.tanh()
