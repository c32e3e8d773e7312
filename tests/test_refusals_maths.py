"""What the maths notebooks refuse (factors, viz), and pictures that must come out exactly."""
import numpy as np
import pytest
import torch
from PIL import Image, ImageColor
from diffsda import viz
from diffsda.factors import BadInput, Factors, as_numbers, as_pixels, check_number, refusal, refuse

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


# what a caller may give in place of a float32 tensor

picture = torch.arange(256, dtype=torch.uint8).reshape(4, 8, 8)

@pytest.mark.parametrize('given', [
    picture, picture.numpy(), picture.tolist(), list(picture), list(picture.numpy()), picture.long(), picture.int(),
    picture.numpy().astype('>i2'), picture.numpy().astype(np.uint16), picture.numpy()[::-1][::-1], picture.to_sparse(),
    np.broadcast_to(picture.numpy(), (4, 8, 8)), np.asfortranarray(picture.numpy())])
def test_bytes_of_any_kind(given):
    found = as_pixels('clips', given)
    assert found.dtype == torch.uint8 and torch.equal(found, picture)

@pytest.mark.parametrize('given', [
    picture / 255, picture.double() / 255, picture.numpy() / 255, (picture.numpy() / 255).tolist(),
    list(picture / 255), (picture.numpy() / 255).astype('>f4'), (picture.numpy() / 255).astype(np.longdouble)])
def test_floats_of_any_kind(given):
    "Exactly what the float32 tensor holds."
    found = as_pixels('clips', given)
    assert found.dtype == torch.float32 and torch.equal(found, picture / 255)

@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_becomes_whole(dtype):
    halves = (picture / 255).to(dtype)
    assert as_pixels('clips', halves).dtype == torch.float32 and torch.equal(as_pixels('clips', halves), halves.float())

def test_numpy_is_copied():
    "A tensor that shares memory with the caller's array would change with it."
    mine = picture.numpy().copy()
    found = as_numbers('clips', mine)
    mine[:] = 0
    assert torch.equal(found, picture)

@pytest.mark.parametrize('clip, words', [
    (picture.float(), 'values from 0 to 255'), (picture.double().numpy(), 'values from 0 to 255'),
    (picture / 127.5 - 1, 'values from -1 to 1'), (picture.long() * 257, 'values from 0 to 65535'),
    (picture.numpy().astype(np.uint16) * 257, 'values from 0 to 65535'), (picture > 100, 'True and False'),
    ((picture > 100).tolist(), 'True and False')])
def test_the_mend_of_a_range_works(clip, words):
    "The line that the sentence tells to write is written, and gives the picture."
    said = refusal(lambda: as_pixels('clips', clip))
    mend = next(part for part in said.split('write ') if 'torch.as_tensor' in part)
    mended = eval(mend.split(' for ')[0], dict(torch=torch, clip=clip))
    expected = (picture > 100).float() if 'True' in words else picture / 255
    assert words in said and torch.allclose(as_pixels('clips', mended), expected, atol=1e-7)

def test_zeros_and_ones_have_two_meanings():
    mask = (picture > 100).long()
    said = refusal(lambda: as_pixels('clips', mask))
    assert '.float() if 1 is white' in said and '.byte() if 255 is' in said
    assert torch.equal(as_pixels('clips', 0 * mask), torch.zeros_like(picture)) # black either way
    assert 'True and False' not in refusal(lambda: as_pixels('clips', mask * 0 + 1))

def test_pictures_of_pil_with_the_line_that_mends_them():
    images = [Image.fromarray(frame.numpy()) for frame in picture]
    for given in (images, images[0]):
        said = refusal(lambda: as_numbers('clips', given))
        mend = said.split('write ')[1].split(' for a clip')[0]
    clip = eval(mend, dict(torch=torch, np=np, images=images))
    assert clip.shape == (1, 4, 3, 8, 8) and torch.equal(clip[0, :, 0], picture)

@pytest.mark.parametrize('given, words', [
    (None, 'None'), ('clip.mp4', "'clip.mp4'"), ({'clip': 1}, 'clip'), (['a', 'b'], 'numbers'),
    ([[1], [1, 2]], 'differ in shape'),
    ([torch.zeros(2), torch.zeros(3)], 'differ in shape'), (np.array([None]), 'object'), (torch.zeros(2) * 1j, 'real'),
    (np.zeros(2) * 1j, 'complex'), (torch.zeros(2, device='meta'), 'meta'), (np.array(['2020'], 'M8[Y]'), 'datetime')])
def test_what_is_no_tensor(given, words):
    assert words in refusal(lambda: as_numbers('clips', given))

def test_values_that_are_not_finite():
    for v in (float('nan'), float('inf')):
        assert 'not finite' in refusal(lambda: as_pixels('clips', torch.tensor([.5, v])))

def test_numbers_are_pythons():
    for v in (3, 3., np.int8(3), np.float64(3), torch.tensor(3), np.array(3)):
        assert type(check_number('n', v)) is float and type(check_number('n', v, 'above 0', whole=True)) is int
    for v in (True, np.bool_(True), '3', None, 3j, [3], torch.ones(1), float('nan'), -float('inf')):
        assert refusal(lambda: check_number('n', v)).startswith('n: ')
    assert check_number('n', 0, 'of 0 or more') == 0 and 'above 0' in refusal(lambda: check_number('n', 0, 'above 0'))

def test_factors_of_other_kinds():
    s, d = torch.rand(2, 6), torch.rand(2, 8, 2)
    for f in (Factors(s.numpy(), d.numpy()), Factors(s.tolist(), d.tolist()), Factors(s.double().numpy(), d)):
        assert torch.equal(f.cond(), Factors(s, d).cond()) and f.s.dtype == f.d.dtype == torch.float32
    assert 'one frame or more' in refusal(lambda: Factors(s, d[:, :0]))
    said = refusal(lambda: Factors(s, d.to('meta')))
    assert 'on cpu and meta' in said and 's.to(d.device)' in said
    assert len(Factors(s, d)[:0]) == 0 and [len(one) for one in Factors(s, d)] == [1, 1]
