"""What the synthetic data refuse. Each refusal names the thing, what was found and what was expected."""
import re
import numpy as np
import pytest, torch
from diffsda.factors import BadInput
from diffsda.faces import DYNAMIC, STATIC, render
from diffsda.toys import CartoonFaces, sample_dynamic
from diffsda.vowels import Vowels, synthesise
from diffsda.vowels import render as speak

@pytest.fixture(scope='module')
def faces(): return CartoonFaces('test', n_clips=4, clip_len=8, size=16)

@pytest.fixture(scope='module')
def vowels(): return Vowels('test', n_clips=8)

def refused(said, act, *args, **kw):
    with pytest.raises(BadInput, match=re.escape(said)): act(*args, **kw)

def test_factors_of_a_face():
    who, what = torch.rand(2, len(STATIC)), torch.rand(2, 3, len(DYNAMIC))
    assert render(who, what, size=16).shape == (2, 3, 3, 16, 16)
    for wrong in ((who, what[..., :5]), (who[:, :5], what), (who[:1], what), (who[0], what[0])):
        s, d = (tuple(x.shape) for x in wrong)
        refused(f'static has shape {s} and dynamic {d}; expected (b, 20) and (b, t, 9)', render, *wrong)

def test_cartoon_faces(faces):
    refused("split: 'valid'; expected 'train' or 'test'", CartoonFaces, 'valid')
    refused('n_frames: 7; expected 8 or more', sample_dynamic, 2, n_frames=7)
    refused('n_frames: 9; expected 8 or fewer', faces.clip, 0, 9)
    refused('n_frames: 9; expected 8 or fewer', faces.draw, np.random.default_rng(0), 2, 9)
    refused('n_frames: 9; expected 8 or fewer', faces.pairs, 2, 9)
    one = CartoonFaces('test', n_clips=2, clip_len=8, size=16)
    refused('pairs: all clips show one identity; expected two or more', one.pairs, 2)

def test_factors_of_a_voice():
    who, said = torch.rand(2, 4), torch.rand(1, 9, 4)
    refused('static: shape (4,); expected (b, 4)', speak, who[0], said)
    refused('dynamic: shape (9, 4); expected (b, t, 4)', speak, who, said[0])
    refused('dynamic: shape (1, 9, 3); expected (b, t, 4)', speak, who, said[..., :3])
    refused('static has 2 clips and dynamic 1', synthesise, who, said)
    refused('dynamic: 1 frames; expected 2 or more', synthesise, who[:1], said[:, :1])

def test_vowels(vowels):
    refused("split: 'valid'; expected 'train' or 'test'", Vowels, 'valid')
    refused('n_clips: 0; expected a whole number above 0', Vowels, n_clips=0)
    refused('n_frames: 40; expected 68 or more', Vowels, n_clips=4, clip_len=40)
    refused('n_frames: 200; expected 1 to 102', vowels.draw, np.random.default_rng(0), 2, 200)
    refused('n_frames: 200; expected 1 to 102', vowels.pairs, 2, n_frames=200)
    refused('pairs: all clips are of one speaker', Vowels(n_clips=4).pairs, 2)

BAD_COUNTS = 0, -1, 2.5, True, '2', float('nan') # 0 meant all, or the usual number, without a word

def test_counts_that_cannot_be(faces, vowels):
    for n in BAD_COUNTS:
        for data in (CartoonFaces, Vowels): refused('n_clips: ', data, 'test', n_clips=n)
        refused('size: ', CartoonFaces, 'test', n_clips=2, size=n)
        refused('clips_per_identity: ', CartoonFaces, 'test', n_clips=2, clips_per_identity=n)
        for data in (faces, vowels):
            refused('n: ', data.pairs, n)
            refused('n_frames: ', data.pairs, 2, n)
            refused('n_frames: ', data.clip, 0, n)
            refused('n_frames: ', data.draw, np.random.default_rng(0), 2, n)
    for seed in (-1, 1.5, '0'):
        refused('seed: ', CartoonFaces, 'test', n_clips=2, seed=seed)
        refused('seed: ', faces.pairs, 2, seed=seed)

def test_whole_numbers_of_other_types(faces):
    plain = faces.pairs(2, 4)
    for n, t in ((2., 4.), (np.int64(2), torch.tensor(4))): assert torch.equal(faces.pairs(n, t).truth, plain.truth)
    again = CartoonFaces('test', n_clips=4., clip_len=np.int32(8), size=16., seed=torch.tensor(0))
    assert torch.equal(again.frames, faces.frames)

def test_voices_of_other_types():
    who, said = torch.rand(2, 4), torch.rand(2, 9, 4)
    plain = speak(who, said)
    for a, b in ((who.numpy(), said.numpy()), (who.double(), said.double()), (who.tolist(), said.tolist())):
        assert torch.equal(speak(a, b), plain)
    for act in (speak, synthesise): refused('static: values that are not finite', act, who * float('nan'), said)
