"""Photographs and talking heads: data_prep/london.py and grid.py, morphs, augmentation in training."""
import csv, shutil
from pathlib import Path
import numpy as np
import pytest
import torch
from PIL import Image
from diffsda.clips import Clips, check
from diffsda.datasets import open_dataset
from diffsda.detectors import FaceApi
from diffsda.experiment import Experiment
from diffsda.factors import BadInput
from diffsda.settings import preset_of, read_settings
from diffsda.training import load_checkpoint
from diffsda.video import read_image
from fixtures import make_sprite_sheets
from fixtures_video import make_grid, make_london
from test_detectors import london, needs_faces, weights
from test_preparation import TINY, program, skipped, trained

needs_photographs = pytest.mark.skipif(not london, reason='no photographs (faces_london) here')
def grey(frame): return frame.numpy().astype(int)

def some_people(folder, who): # a copy of the cut layout with few people
    for kind in ('neutral', 'smiling'):
        (folder / kind).mkdir(parents=True)
        for k in who: shutil.copy(london / kind / f'{k}.jpg', folder / kind)
    for name in ('landmarks.npz', 'index.csv'): shutil.copy(london / name, folder)
    return folder

@needs_photographs
def test_london(tmp_path, monkeypatch):
    folder = some_people(tmp_path / 'files', ('002', '005', '010', '011', '012', '013'))
    (folder / 'neutral/010.jpg').unlink()
    said = program('london', folder, tmp_path / 'london', '--strengths', 5, code=3)
    assert '5 clips (2 test, 3 train)' in said and check(tmp_path / 'london') == []
    assert 'the only picture of 010' in str(skipped(tmp_path / 'london'))
    data = Clips(tmp_path / 'london')
    rows = {row['id']: row for row in csv.DictReader(open(london / 'index.csv'))}
    assert all(data.labels['age'][i] == rows[who]['age'] for i, who in enumerate(data.labels['subject']))
    def small(kind, who): # the photograph at 64 x 64, by PIL
        return np.asarray(Image.open(london / kind / f'{who}.jpg').resize((64, 64), Image.BOX)).transpose(2, 0, 1)
    for i, who in enumerate(data.labels['subject']):
        clip = data.clip(i)
        assert np.abs(grey(clip[0]) - small('neutral', who)).max() <= 1 and len(clip) == 9
        assert np.abs(grey(clip[4]) - small('smiling', who)).max() <= 1
        assert torch.equal(clip[3], clip[5]) and not torch.equal(clip[2], clip[3])
    pairs = data.pairs(2, 3) # the right answer: the strengths of the one on the face of the other
    clips = {k: data.clip(k) for k in range(3)}
    for s, d, truth in zip(*pairs):
        who, what = (next(k for k, c in clips.items() if (c == x[0]).flatten(1).all(1).any()) for x in (s, d))
        at = [int((clips[what] == f).flatten(1).all(1).nonzero()[0]) for f in d]
        assert torch.equal(truth, clips[who][at])
    assert trained(monkeypatch, 'london', tmp_path / 'london', tmp_path / 'run')['pairs'] == 2

@needs_photographs
def test_people_between_two_people(tmp_path):
    "They train, the right answers stay; each lies between two people of the training side, and none of the test side."
    folder = some_people(tmp_path / 'cut', ('002', '005', '011', '004', '006', '008'))
    program('london', folder, tmp_path / 'plain', '--strengths', 3)
    program('london', folder, tmp_path / 'more', '--strengths', 3, '--between', 4)
    plain, more = (Clips(tmp_path / name) for name in ('plain', 'more'))
    names = [v for v in more.labels['subject'] if v.startswith('between')]
    assert len(more) == len(plain) + 4 and len(names) == 4
    for name in names:
        one, other = name.split('_')[2:]
        assert one != other and {one, other} <= set(plain.labels['subject'])
        a, b = (plain.clip(plain.labels['subject'].tolist().index(k))[0].double().numpy() for k in (one, other))
        made = more.clip(more.labels['subject'].tolist().index(name))[0].double().numpy()
        corner = np.s_[:, :6, :6]                    # the wall: nothing moves there, so it is between in brightness
        low, high = (f(a[corner].mean(), b[corner].mean()) for f in (min, max))
        assert low - 2 <= made[corner].mean() <= high + 2 and (made != a).any() and (made != b).any()
    sides = [Clips(tmp_path / name, 'test').labels['subject'].tolist() for name in ('plain', 'more')]
    assert sides[0] == sides[1]
    for k in range(9):
        (tmp_path / 'm').mkdir(exist_ok=True)
        for who in ('002', '005', '011'): shutil.copy(london / f'morph128/{who}_{k}.jpg', tmp_path / 'm')
    said = program('london', tmp_path / 'm', tmp_path / 'no', '--between', 4, code=1)
    assert '--between' in said and 'two photographs of each' in said

def test_real_people_have_a_preset_of_their_own(tmp_path):
    program('london', make_london(tmp_path / 'files'), tmp_path / 'london', '--size', 32)
    assert len(Clips(tmp_path / 'london').clip(0)) == 5
    preset = preset_of(read_settings(dict(dataset='london', data_dir=str(tmp_path / 'london'))))
    assert preset.model.d_noise == 2 and preset.model.frame == (3, 32, 32) # not `own`, whose d_noise is 0.4

def test_few_of_many_people(tmp_path):
    "Fewer clips to train on are part of more, and the test side stays. What is always taken whole says so."
    program('cartoon', '.', tmp_path / 'faces', '--train', 6, '--test', 3, '--size', 32)
    def ids(side, n): return set(open_dataset('cartoon', side, tmp_path / 'faces', n_clips=n).labels['id'])
    few, more, every = (ids('train', n) for n in (2, 4, 0))
    assert few < more < every and [len(v) for v in (few, more, every)] == [2, 4, 6] and len(ids('test', 2)) == 3
    make_sprite_sheets(tmp_path / 'sheets')
    given = dict(dataset='sprites', data_dir=tmp_path / 'sheets', n_clips=20, run=tmp_path / 'run', steps=1)
    with pytest.raises(BadInput, match='n_clips=20: sprites is always taken whole'):
        Experiment(read_settings({k: v if k in ('n_clips', 'steps') else str(v) for k, v in given.items()}))

@needs_photographs
def test_london_already_morphed(tmp_path):
    for k in ('002', '005', '011'):
        for n in range(9):
            (tmp_path / 'm').mkdir(exist_ok=True)
            shutil.copy(london / f'morph128/{k}_{n}.jpg', tmp_path / 'm')
    program('london', tmp_path / 'm', tmp_path / 'out', '--size', 128)
    data = Clips(tmp_path / 'out')
    want = read_image(london / f'morph128/{data.labels["subject"][0]}_6.jpg').transpose(2, 0, 1)
    clip = data.clip(0)
    assert len(clip) == 17 and np.array_equal(clip[6], want) and np.array_equal(clip[10], want)

@needs_faces
def test_london_as_its_owners_publish_it(tmp_path):
    for who in ('002', '005', '011'):
        for kind, number in (('neutral', '03'), ('smiling', '08')):
            wall = Image.new('RGB', (700, 800), (216, 216, 214))
            wall.paste(Image.open(london / kind / f'{who}.jpg').resize((512, 512), Image.BICUBIC), (94, 144))
            place = tmp_path / f'files/{kind}_front/{who}_{number}.jpg'
            place.parent.mkdir(parents=True, exist_ok=True)
            wall.save(place, quality=95)
    table = tmp_path / 'files/london_faces_info.csv'
    table.write_text('face_id,face_age,face_gender,face_eth\nX002,24,female,white\nX005,30,male,black\n')
    program('london', tmp_path / 'files', tmp_path / 'out', '--strengths', 3, '--weights', weights / 'face-api')
    program('london', some_people(tmp_path / 'cut', ('002', '005', '011')), tmp_path / 'ours', '--strengths', 3)
    for side in ('train', 'test'):
        a, b = (Clips(tmp_path / name, side) for name in ('out', 'ours'))
        assert a.labels['subject'].tolist() == b.labels['subject'].tolist()
        for i in range(len(a)): # the same square, but for where a detector puts the pupils
            assert np.abs(grey(a.clip(i)) - grey(b.clip(i))).mean() < 8
    known = dict(zip(*(Clips(tmp_path / 'out').labels[k] for k in ('subject', 'gender')))) | dict(
        zip(*(Clips(tmp_path / 'out', 'test').labels[k] for k in ('subject', 'gender'))))
    assert known['002'] == 'female' and known['005'] == 'male'

def test_london_refuses(tmp_path):
    (tmp_path / 'files').mkdir()
    said = program('london', tmp_path / 'files', tmp_path / 'out', code=1)
    assert 'no person with two pictures' in said and '10.6084/m9.figshare.5047666' in said

def test_grid(tmp_path, monkeypatch):
    "The owners' MPEG-1, which decord misreads."
    make_grid(tmp_path / 'files')
    (tmp_path / 'files/s1/align.txt').write_text('0 100 sil')
    said = program('grid', tmp_path / 'files', tmp_path / 'grid')
    data = [Clips(tmp_path / 'grid', side) for side in ('train', 'test')]
    assert 'clips (2 test' in said or 'clips (3 test' in said
    words = {k: v for d in data for k, v in zip(d.labels['id'], d.labels['sentence'])}
    assert words['s1/video/mpg_6000/bbaf2n.mpg'] == 'bin blue at f two now'
    assert words['s1/video/mpg_6000/lwwz9p.mpg'] == 'lay white with z nine please'
    assert not set(data[0].labels['subject']) & set(data[1].labels['subject'])
    assert all(11 <= n <= 12 for d in data for n in d.lengths) # every frame of the file
    trained(monkeypatch, 'grid', tmp_path / 'grid', tmp_path / 'run')
    (tmp_path / 'none').mkdir()
    assert 'zenodo.org/records/3625687' in program('grid', tmp_path / 'none', tmp_path / 'o', code=1)

def test_augmented_training_goes_on_exactly(tmp_path, monkeypatch):
    from diffsda import presets
    from diffsda.experiment import Experiment
    from diffsda.presets import ModelConfig, Preset
    from diffsda.settings import Settings
    monkeypatch.setitem(presets.PRESETS, 'tiny', Preset(
        ModelConfig(**TINY), dict(batch_size=2, n_frames=2, lr=1e-3, steps=4, checkpoint_every=2), 'tests'))
    def run(name, **kw):
        given = dict(dataset='cartoon', preset='tiny', n_clips=8, pairs=2, run=str(tmp_path / name),
                     augment='crop colour')
        return Experiment(Settings(**given | kw), verbose=False)
    once = run('a')
    once.train()
    first = run('b', steps=2)
    first.train()
    run('b', resume=True, steps=4).train()
    plain = run('c', augment='')
    plain.train()
    weights = [load_checkpoint(tmp_path / name / 'checkpoint.pt')['model'] for name in 'abc']
    assert any((weights[0][k] != weights[2][k]).any() for k in weights[0])          # it does something
    with pytest.raises(BadInput, match='crop flip colour background'): run('d', augment='mirror')
    with pytest.raises(BadInput, match='images of three colours'): Experiment(
        Settings(dataset='vowels', n_clips=8, augment='flip', run=str(tmp_path / 'e')), verbose=False)
