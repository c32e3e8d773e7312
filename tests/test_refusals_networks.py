"What the networks refuse: frames and options that cannot be."
import pytest
import torch
from torch import nn
from diffsda.encoder import SequenceEncoder
from diffsda.factors import refusal
from diffsda.mlp import MLP, Tower, VectorTrunk
from diffsda.unet import UNet, check_size

@pytest.mark.parametrize('frame, patch, levels, said', [
    ((3, 50, 64), 4, 3, 'frames: 50x64; expected both sides to be multiples of 16, for 3 levels on 4x4 patches; '
                        'resize or crop the clips to 48x64, or choose fewer levels or a smaller patch'),
    ((3, 64, 36), 1, 4, 'multiples of 8, for 4 levels on 1x1 patches; resize or crop the clips to 64x32'),
    ((1, 3, 5), 2, 2, 'resize or crop the clips to 4x4'),
])
def test_frames_that_cannot_be_halved(frame, patch, levels, said):
    assert said in refusal(lambda: check_size(frame, patch, levels))

@pytest.mark.parametrize('frame, patch, levels', [((3, 64, 64), 4, 3), ((3, 8, 16), 1, 4), ((4, 7, 5), 1, 1)])
def test_frames_that_can(frame, patch, levels): check_size(frame, patch, levels)

@pytest.mark.parametrize('network', [
    lambda x: Tower(24, 8, (2,))(x),
    lambda x: VectorTrunk(24, 4, base=8, mults=(2,))(x),
    lambda x: MLP(24, 3, base=8, mults=(2,))(x, torch.zeros(len(x)), torch.zeros(len(x), 3)),
])
@pytest.mark.parametrize('shape', [(25,), (3, 16, 16), ()])
def test_frames_that_are_other_vectors(network, shape):
    said = refusal(lambda: network(torch.rand(2, *shape)))
    assert said.startswith(f'frames: shape {shape}; expected (24,)') and 'backbone unet' in said

@pytest.mark.parametrize('pooling', ['first', '', None])
def test_static_pooling(pooling):
    said = refusal(lambda: SequenceEncoder(nn.Identity(), 2, 2, 4, static_pooling=pooling))
    assert said == f"static_pooling: {pooling!r}; expected 'last' or 'mean'"

@pytest.mark.parametrize('levels, factors', [(1, 2), (2, 1), (3, 2)])
@pytest.mark.parametrize('network, frame', [
    (MLP(24, 3, base=8, mults=(2,)), (24,)), (UNet((3, 8, 8), 3, base=8, mults=(1,), n_res=1, attn=()), (3, 8, 8))])
def test_nothing_is_broadcast_over_the_frames(network, frame, levels, factors):
    said = refusal(lambda: network(torch.rand(2, *frame), torch.zeros(levels), torch.zeros(factors, 3)))
    assert said.startswith(f'frames, noise levels and factors: 2, {levels} and {factors}; expected equally many')
