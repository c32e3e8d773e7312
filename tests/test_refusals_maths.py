"""What the maths notebooks refuse (factors, viz), and pictures that must come out exactly."""
import numpy as np
import pytest
import torch
from PIL import Image, ImageColor
from diffsda import viz
from diffsda.factors import BadInput, Factors, refusal, refuse

zeros = torch.zeros

@pytest.mark.parametrize('act, parts', [
    (lambda: Factors(zeros(6), zeros(8, 2)), ['s', '(6,)', '(b, s_dim)', 's[None]']),
    (lambda: Factors(zeros(2, 6), zeros(2, 2)), ['d', '(2, 2)', '(b, t, d_dim)', 'd[None]']),
    (lambda: Factors(zeros(3, 6), zeros(2, 8, 2)), ['s and d', '3 and 2 clips', 'equally many', 'cut or repeat']),
    (lambda: Factors(zeros(2, 6), zeros(2, 8, 2)).swap(Factors(zeros(1, 6), zeros(1, 8, 2))),
     ['2 and 1 clips', 'equally many']),
    (lambda: viz.to_uint8(zeros(8, 32, 32, 3)), ['images', '(8, 32, 32, 3)', '1 or 3 channels', 'move the channels']),
    (lambda: viz.to_uint8(zeros(3, 8, 8, dtype=torch.int64)), ['images', 'torch.int64', 'uint8', 'to(torch.uint8)']),
    (lambda: viz.strip(zeros(2, 8, 3, 4, 4)), ['clip', '(2, 8, 3, 4, 4)', '(t, c, h, w)', 'clip[0]']),
    (lambda: viz.named_rows([[('a', '', 'red', zeros(5, 3, 16, 16))]], titles=['1', '2']),
     ['titles: 2', '5', 'one per column']),
])
def test_refused_with_thing_found_expected_and_mend(act, parts):
    sentence = refusal(act)
    assert [p for p in parts if p not in sentence] == []

def test_refuse_leaves_out_what_is_empty():
    with pytest.raises(BadInput, match=r'^age: -3; expected 0 or more$'): refuse('age', -3, '0 or more')
    with pytest.raises(BadInput, match=r'^file: not there$'): refuse('file', 'not there', '')
    with pytest.raises(AssertionError): refusal(lambda: None)

def test_titles_are_thinned_with_their_frames():
    clip = torch.rand(15, 3, 16, 16)
    every = viz.named_rows([[('a', '', 'red', clip)]], frames=8, titles=range(15))
    kept = viz.named_rows([[('a', '', 'red', clip)]], frames=8, titles=range(0, 15, 2))
    assert np.array_equal(every, kept)

@pytest.mark.parametrize('colours', [16, 256])
def test_compact_keeps_the_role_colours(colours):
    roles = [ImageColor.getrgb(c) for c in (viz.BLUE, viz.ORANGE, viz.GREEN, viz.GREY, 'black', 'white')]
    img = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    for i, role in enumerate(roles): img[5 * i, 7] = role
    small = viz.compact(Image.fromarray(img), colours)
    again = np.asarray(small.convert('RGB'))
    assert small.mode == 'P' and [tuple(again[5 * i, 7].tolist()) for i in range(6)] == roles
    assert len(np.unique(again.reshape(-1, 3), axis=0)) <= colours and small._repr_jpeg_ is None

def test_compact_of_few_colours_is_the_picture_itself():
    picture = np.asarray(viz.named_rows([[('', '', viz.ORANGE, torch.zeros(2, 1, 48, 48, dtype=torch.uint8))]]))
    assert np.array_equal(np.asarray(viz.compact(picture).convert('RGB')), picture)
