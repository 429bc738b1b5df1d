"""The encoder of images, and random shifts against the formula of DrQ-v2."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn import functional

from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.networks.images import Encoder, random_shift

CPU = torch.device("cpu")


def authors_shift(images, shifts, most):
    """DrQ-v2's: padded by the border, then sampled bilinearly on a grid that is shifted by whole pixels."""
    count, _, side, _ = images.shape
    padded = functional.pad(images, (most,) * 4, "replicate")
    size = side + 2 * most
    line = torch.linspace(-1 + 1 / size, 1 - 1 / size, size, dtype=images.dtype)[:side].repeat(side, 1)
    grid = torch.stack([line, line.T], 2).repeat(count, 1, 1, 1)
    grid = grid + shifts.to(images.dtype)[:, None, None] * 2 / size
    return functional.grid_sample(padded, grid, padding_mode="zeros", align_corners=False)


@settings(max_examples=30)
@given(side=st.integers(1, 12), most=st.integers(1, 5), seed=st.integers(0, 9))
def test_a_random_shift_is_that_of_the_authors(side, most, seed):
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (2, 3, 4, side, side), generator=draws).double()
    shifts = torch.randint(2 * most + 1, (2, 3, 2), generator=draws)
    found = random_shift(images, shifts, most)
    expected = authors_shift(images.flatten(0, 1), shifts.flatten(0, 1), most)
    torch.testing.assert_close(found.flatten(0, 1), expected, rtol=0, atol=1e-8)
    assert torch.equal(random_shift(images, torch.full_like(shifts, most), most), images)  # not shifted


def test_pixels_stay_what_they_are_and_images_need_not_be_square():
    images = torch.arange(2 * 3 * 5, dtype=torch.float32).view(1, 2, 1, 3, 5)
    found = random_shift(images, torch.tensor([[[1, 2], [3, 0]]]), 2)
    assert found[0, 0, 0].tolist() == [[0, 0, 1, 2, 3], [5, 5, 6, 7, 8], [10, 10, 11, 12, 13]]
    assert found[0, 1, 0].tolist() == [[16, 17, 18, 19, 19]] * 3


def test_on_one_device_a_grouped_convolution_is_the_runs_one_after_the_other():
    encoder = Encoder(Spec((3, 20, 17), 2, (1, 2, 3), CPU), "test").double()
    images = torch.randint(256, (3, 4, 3, 20, 17)).double()
    found = encoder(images)
    assert found.shape == (3, 4, encoder.features)
    grouped = encoder.together(images / 255 - 0.5)
    torch.testing.assert_close(grouped, found, rtol=1e-12, atol=1e-12)


def test_a_run_starts_and_is_encoded_the_same_in_every_run_group():
    group, run = (Encoder(Spec((9, 16, 16), 2, seeds, CPU), "test") for seeds in ((7, 8, 9), (8,)))
    images = torch.randint(256, (3, 5, 9, 16, 16)).float()
    assert torch.equal(group(images)[1:2], run(images[1:2]))
    for one, other in zip(group.parameters(), run.parameters(), strict=True):
        assert torch.equal(one[1:2], other)
    for kernel in group.kernels:
        matrix = kernel[0].flatten(1)
        torch.testing.assert_close(matrix @ matrix.T, 2 * torch.eye(32), rtol=0, atol=1e-5)
    assert not torch.equal(group.kernels[0][0], group.kernels[0][1])


def test_the_encoder_of_walker_walk_has_the_authors_size():
    meta = Spec((9, 84, 84), 6, (0,), torch.device("meta"))
    assert Encoder(meta, "test").features == 32 * 35 * 35


@pytest.mark.gpu
def test_on_a_gpu_images_are_encoded_as_on_a_cpu():
    cuda = torch.device("cuda")
    on_cpu, on_gpu = (Encoder(Spec((9, 84, 84), 2, (1, 2), device), "test") for device in (CPU, cuda))
    images = torch.randint(256, (2, 4, 9, 84, 84)).float()
    torch.testing.assert_close(on_gpu(images.to(cuda)).cpu(), on_cpu(images), rtol=1e-3, atol=1e-3)
