import torch
from torch import nn

from hoiclip.contract.precision import in_float32


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    @in_float32
    def forward(self, x, note=None):
        """Says what it was given."""
        return self.linear(x), x.dtype, note


def test_a_head_works_in_float32_inside_autocast():
    head = Head()
    x = torch.randn(3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert head.linear(x).dtype == torch.bfloat16
        given, seen, note = head(x.bfloat16(), "as it is")
        assert head.linear(x).dtype == torch.bfloat16
    assert (given.dtype, seen, note) == (torch.float32, torch.float32, "as it is")
    torch.testing.assert_close(given, head.linear(x.bfloat16().float()))


def test_nothing_changes_in_float32():
    head, x = Head(), torch.randn(3, 8)
    assert torch.equal(head(x)[0], head.linear(x))


def test_its_text_is_that_of_the_method():
    assert Head.forward.__doc__ == "Says what it was given."
