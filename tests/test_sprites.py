"""Sprites from stand-in sheets in the true layout; also from the real ones, where DIFFSDA_SPRITES names them."""
import os, pickle, subprocess, sys
from pathlib import Path
import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from fixtures import make_sprite_sheets
from diffsda.factors import BadInput
from diffsda.sprites import CELLS, Sprites, read_sheet, split_characters

root = Path(__file__).resolve().parent.parent
usual = [root/'data/sprites', root.parent/'shared/data/sprites']
spots = [os.environ['DIFFSDA_SPRITES']] if 'DIFFSDA_SPRITES' in os.environ else usual
LAYERS = ('body', 'bottomwear', 'topwear', 'hair', 'shoes')

@pytest.fixture(scope='module')
def stand_in(tmp_path_factory): return make_sprite_sheets(tmp_path_factory.mktemp('sheets'))

@pytest.fixture(scope='module', params=['stand-in', 'real'])
def sheets(request, stand_in):
    if request.param == 'stand-in': return stand_in
    here = [Path(s) for s in spots if Path(s).is_dir()]
    return here[0] if here else pytest.skip('the real sheets are not here')

@pytest.fixture(scope='module')
def ds(sheets): return Sprites(sheets, 'test')

@pytest.fixture
def spoilt(stand_in, tmp_path):
    "A folder in which only the sheets that a test replaces are not sound."
    for layer in LAYERS:
        (tmp_path/layer).mkdir()
        for f in (stand_in/layer).iterdir(): os.symlink(f, tmp_path/layer/f.name)
    (tmp_path/'hair/2.png').unlink()
    return tmp_path

def by_pil(sheets, who, cells):
    "A character as the authors' script makes it: whole sheets over black, then the cells cut out."
    sheet = Image.new('RGBA', (832, 1344), 'black')
    for layer, v in zip(LAYERS, [*who, 1]):
        sheet = Image.alpha_composite(sheet, Image.open(sheets/layer/f'{v}.png').convert('RGBA'))
    corner = [(64 * (int(c) % 13), 64 * (int(c) // 13)) for c in cells]
    frames = [np.asarray(sheet.crop((x, y, x + 64, y + 64)))[..., :3] for x, y in corner]
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)


def test_cells_of_the_readme():
    starts = {'walk': (117, 130, 143), 'spellcard': (13, 26, 39), 'slash': (169, 182, 195)}
    steps = {'walk': [8, 1, 2, 3, 4, 5, 6, 7], 'spellcard': [0, 1, 2, 3, 4, 5, 4, 6], 'slash': [0, 1, 2, 3, 4, 5, 4, 0]}
    assert CELLS.tolist() == [[s + k for k in steps[a]] for a in starts for s in starts[a]]

@pytest.mark.parametrize('i', [0, 111, 295])
def test_equals_pil_bit_for_bit(ds, sheets, i):
    assert torch.equal(ds.clip(i), by_pil(sheets, ds.characters[i], CELLS.ravel()))

def test_stand_in_has_soft_edges(stand_in):
    alpha = np.asarray(Image.open(stand_in/'hair/0.png'))[..., 3]
    assert {0, 255} < set(alpha.ravel().tolist())

def test_split_is_the_authors():
    np.random.seed(423)
    numbers = np.random.permutation(range(1296))
    digits = [[n // 216, n // 36 % 6, n // 6 % 6, n % 6] for n in numbers.tolist()]
    assert split_characters('train').tolist() == digits[:1000] and split_characters('test').tolist() == digits[1000:]
    assert numbers[:5].tolist() == [1116, 1135, 17, 469, 1293] # should numpy ever change its frozen generator

def test_other_seeds_split_otherwise():
    train, test = ({tuple(c) for c in split_characters(s, 7)} for s in ('train', 'test'))
    assert len(train) == 1000 and len(test) == 296 and not train & test
    assert train != {tuple(c) for c in split_characters('train')}

@pytest.mark.parametrize('clips,n', [('character', 296), ('action', 2664)])
def test_labels(stand_in, clips, n):
    ds = Sprites(stand_in, 'test', clips)
    assert ds.name == 'sprites' and ds.frame_shape == (3, 64, 64) and len(ds) == n
    assert list(ds.labels) == ['body', 'bottomwear', 'topwear', 'hair'] + ['action'] * (clips == 'action')
    assert all(v.shape == (n,) and v.dtype == np.int64 for v in ds.labels.values())
    i = n // 2
    who = [ds.labels[a][i] for a in ('body', 'bottomwear', 'topwear', 'hair')]
    what = ds.labels['action'][i] if clips == 'action' else slice(None)
    assert torch.equal(ds.clip(i), by_pil(stand_in, who, CELLS[what].ravel()))

def test_draw_is_a_function_of_the_generator(ds):
    draw = lambda seed: ds.draw(np.random.default_rng(seed), 5, 8)
    assert draw(0).shape == (5, 8, 3, 64, 64) and draw(0).dtype == torch.uint8
    assert torch.equal(draw(0), draw(0)) and not torch.equal(draw(0), draw(1))

@pytest.mark.parametrize('clips,most', [('character', 72), ('action', 8)])
def test_draw_takes_different_frames_in_order(stand_in, clips, most):
    ds = Sprites(stand_in, clips=clips)
    lines = ds.timeline[np.arange(200) % len(ds.timeline)]
    for n in (1, 5, most):
        frames = ds.moments(np.random.default_rng(0), lines, n)
        assert frames.shape == (200, n) and (np.diff(frames, axis=1) > 0).all()
        assert all(set(f) <= set(l) for f, l in zip(frames, lines))
    assert set(ds.moments(np.random.default_rng(0), lines, 4).ravel()) == set(range(72)) # each has its chance

def test_whole_action_is_drawn_in_order(stand_in):
    ds = Sprites(stand_in, 'test', 'action')
    clips = {ds.clip(i).numpy().tobytes() for i in range(len(ds))}
    assert all(c.numpy().tobytes() in clips for c in ds.draw(np.random.default_rng(0), 6, 8))

def test_clip_is_evenly_spaced(ds):
    assert torch.equal(ds.clip(3, 8), ds.clip(3)[[0, 10, 20, 30, 41, 51, 61, 71]])

@pytest.mark.parametrize('clips', ['character', 'action'])
def test_pairs_have_the_right_answer(stand_in, clips, monkeypatch):
    ds, asked = Sprites(stand_in, 'test', clips), []
    render = ds.render
    monkeypatch.setattr(ds, 'render', lambda who, frames: asked.append((who, frames)) or render(who, frames))
    static, dynamic, truth = ds.pairs(40, 5, seed=3)
    (a, what_a), (b, what_b), _ = asked
    assert (a != b).any(axis=1).all()
    assert {tuple(c) for c in np.concatenate([a, b])} <= {tuple(c) for c in split_characters('test')}
    for i in range(3):
        for clip, who, what in ((static, a, what_a), (dynamic, b, what_b), (truth, a, what_b)):
            assert torch.equal(clip[i], by_pil(stand_in, who[i], CELLS.ravel()[what[i]]))
        if clips == 'action': assert what_a[i][0] // 8 != what_b[i][0] // 8

def test_pairs_repeat(ds):
    one, again, other = ds.pairs(4, 8), ds.pairs(4, 8, seed=0), ds.pairs(4, 8, seed=1)
    assert all(x.shape == (4, 8, 3, 64, 64) and x.dtype == torch.uint8 for x in one)
    assert all(torch.equal(x, y) for x, y in zip(one, again)) and not torch.equal(one.truth, other.truth)

@pytest.mark.parametrize('size', [32, 16])
def test_smaller_is_the_area_mean(ds, sheets, size):
    small = Sprites(sheets, 'test', size=size)
    mean = torch.nn.functional.avg_pool2d(ds.clip(5).double(), 64 // size)
    assert small.frame_shape == (3, size, size) and (small.clip(5) - mean).abs().max() <= 0.5

def test_memory_is_small(ds):
    assert sum(l.ink.nbytes + l.through.nbytes for l in ds.layers) < 20e6

def test_goes_to_a_worker(ds):
    twin = pickle.loads(pickle.dumps(ds))
    assert torch.equal(twin.draw(np.random.default_rng(0), 2, 3), ds.draw(np.random.default_rng(0), 2, 3))

def test_pil_is_imported_late():
    code = "import sys, diffsda.sprites; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code], cwd=root).returncode == 0


def half(sheet): return sheet[:len(sheet) // 2]
def flip(sheet): return sheet[:len(sheet) // 2] + bytes([sheet[len(sheet) // 2] ^ 1]) + sheet[len(sheet) // 2 + 1:]
def no_end(sheet): return sheet[:-12 - 300]

@pytest.mark.parametrize('spoil,found', [
    (half, 'damaged or truncated'), (flip, 'damaged or truncated'), (no_end, 'damaged or truncated'),
    (lambda s: b'', 'not a picture'), (lambda s: b'<html>404</html>', 'not a picture'),
    (lambda s: s[:20], 'not a picture')])
@pytest.mark.parametrize('lenient', [False, True])
def test_damaged_sheet(stand_in, spoilt, monkeypatch, spoil, found, lenient):
    # other libraries set it; it must not let grey halves in
    monkeypatch.setattr(ImageFile, 'LOAD_TRUNCATED_IMAGES', lenient)
    (spoilt/'hair/2.png').write_bytes(spoil((stand_in/'hair/2.png').read_bytes()))
    with pytest.raises(BadInput, match=rf'hair.2\.png: .*{found}.*832 x 1344.*YingzhenLi/Sprites'):
        read_sheet(spoilt/'hair/2.png')

@pytest.mark.parametrize('image,kind,found', [
    (Image.new('RGBA', (576, 256)), 'PNG', 'a PNG of 576 x 256 pixels with'),
    (Image.new('RGBA', (1344, 832)), 'PNG', '1344 x 832'),
    (Image.new('RGB', (832, 1344)), 'PNG', 'without transparency'),
    (Image.new('RGB', (832, 1344)), 'JPEG', 'a JPEG of'), (Image.new('L', (832, 1344)), 'GIF', 'a GIF of'),
    (Image.new('RGBA', (832, 1344)), 'PNG', r'frame 125 \(walk left\) is empty'),
    (Image.new('RGBA', (832, 1344), 'red'), 'PNG', r'frame 125 \(walk left\) is opaque')])
def test_wrong_sheet(spoilt, image, kind, found):
    image.save(spoilt/'hair/2.png', kind)
    said = rf'hair.2\.png: .*{found}.*expected a PNG of 832 x 1344 .*hair/2\.png from github'
    with pytest.raises(BadInput, match=said):
        read_sheet(spoilt/'hair/2.png')

def test_dataset_names_the_bad_sheet(spoilt):
    (spoilt/'hair/2.png').write_text('version https://git-lfs.github.com/spec/v1')
    with pytest.raises(BadInput, match=r'hair.2\.png: not a picture'): Sprites(spoilt)

def test_palette_sheet_is_welcome(stand_in, spoilt):
    "Most of the real sheets have a palette."
    sheet = Image.open(stand_in/'hair/2.png')
    hard = sheet.copy(); hard.putalpha(sheet.getchannel('A').point(lambda a: 255 * (a > 127)))
    hard.quantize(8).save(spoilt/'hair/2.png')
    assert Image.open(spoilt/'hair/2.png').mode == 'P'
    ds = Sprites(spoilt)
    who = np.array([0, 0, 0, 2])
    assert torch.equal(ds.render(who[None], np.arange(72)[None])[0], by_pil(spoilt, who, CELLS.ravel()))

def test_missing_sheets(spoilt, tmp_path):
    said = r'1 of the 25 sheets are missing \(hair/2\.png\).*git clone https://github.com/YingzhenLi/Sprites'
    with pytest.raises(BadInput, match=said):
        Sprites(spoilt)
    (spoilt/'shoes/1.png').unlink()
    with pytest.raises(BadInput, match=r'2 of the 25 sheets are missing \(hair/2\.png, shoes/1\.png\)'): Sprites(spoilt)
    (tmp_path/'empty').mkdir()
    with pytest.raises(BadInput, match='25 of the 25'): Sprites(tmp_path/'empty')

def test_no_folder(tmp_path):
    (tmp_path/'file').write_text('')
    wrong = {None: 'none was given', tmp_path/'nowhere': 'there is no such folder',
             tmp_path/'file': 'a file, not a folder'}
    for folder, found in wrong.items():
        with pytest.raises(BadInput, match=f'{found}.*YingzhenLi/Sprites.*body, bottomwear, topwear and hair'):
            Sprites(folder)

@pytest.mark.parametrize('wrong,said', [
    (dict(split='valid'), "split='valid'.*train, test"), (dict(clips='movie'), "clips='movie'.*character.*action"),
    (dict(size=48), 'size=48.*64'), (dict(size=128), 'size=128'), (dict(seed=-1), 'seed=-1')])
def test_wrong_argument(stand_in, wrong, said):
    with pytest.raises(BadInput, match=said): Sprites(stand_in, **wrong)

@pytest.mark.parametrize('clips,most', [('character', 72), ('action', 8)])
def test_too_many_frames(stand_in, clips, most):
    ds = Sprites(stand_in, 'test', clips)
    for n in (0, most + 1):
        for ask in (lambda: ds.draw(np.random.default_rng(0), 2, n), lambda: ds.clip(0, n), lambda: ds.pairs(2, n)):
            with pytest.raises(BadInput, match=f'n_frames={n}: .*{clips}.*expected 1 to {most}'): ask()

def test_no_such_clip(ds):
    for i in (296, -1):
        with pytest.raises(BadInput, match=f'clip {i}: there are 296 clips in this split; expected 0 to 295'):
            ds.clip(i)
