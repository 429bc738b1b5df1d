"""What the tests of algorithms share."""

import pytest
import torch


@pytest.fixture
def float64():
    """Numbers are float64 unless a dtype is given."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
