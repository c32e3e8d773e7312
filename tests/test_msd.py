"""MSD-Benchmark: the adapter in a stand-in for their abstract class, their files in the true layout, their score."""
import io, json, pickle, sys
from abc import ABC, abstractmethod
from pathlib import Path
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from fixtures import make_sprite_sheets
from diffsda.factors import BadInput, Factors
from diffsda.metrics import swap_error
from diffsda.model import DiffSDA
from diffsda.msd import MSDClips, MSDModel, NearestJudge, channel_mask, explore, sprites_judge
from diffsda.msd import swap_score, swap_scores, swap_table
from diffsda.presets import ModelConfig
from diffsda.prior import make_prior
from diffsda.sprites import Sprites

sheets = Path(__file__).parents[2] / 'shared/data/sprites'

@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return DiffSDA(ModelConfig(frame=(3, 16, 16), base=16, mults=(1,), attn=(), n_res=1, patch=2, s_dim=5, d_dim=2,
                               hidden=16, enc_base=8, enc_mults=(1,), enc_n_res=1, enc_attn=(), enc_patch=2))

@pytest.fixture(scope='module')
def x(): return torch.rand(6, 4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


# The adapter

class Abstract(ABC, nn.Module): # what their evaluation asks of a model, and nothing else
    def __init__(self):
        super().__init__()
        self.device = torch.device('cpu')
    def to(self, device):
        self.device = torch.device(device)
        return super().to(device)
    def preprocess(self, x): return x
    def postprocess(self, x): return x
for verb in ('latent_vector', 'encode', 'decode', 'sample', 'swap_channels', 'latent_dim', 'forward'):
    setattr(Abstract, verb, abstractmethod(lambda self, *args: None))
    Abstract.__abstractmethods__ |= {verb}

class Plugged(MSDModel, Abstract): pass

def test_their_abstract_class_cannot_be_made_but_ours_can(model):
    with pytest.raises(TypeError): type('Half', (Abstract,), {})()
    ours = Plugged(model, n_steps=2).to('cpu').eval()
    assert ours.device == torch.device('cpu') and list(ours.parameters())

def test_runs_in_a_loop_like_theirs(model, x):
    ours = Plugged(model, n_steps=2)
    with torch.no_grad():
        Z = ours.encode(ours.preprocess(x.double()))
        donors = Z[torch.randperm(Z.shape[0])]
        for subset in ([0, 1], tuple(range(5)), list(range(7))): # the last one leaves an empty array of floats
            complement = np.array([i for i in range(ours.latent_dim()) if i not in subset])
            mixed, rest = ours.swap_channels(Z, donors, complement)
            assert torch.equal(mixed[..., subset], Z[..., subset])
            assert torch.equal(rest[..., subset], donors[..., subset])
            clips = ours.postprocess(ours.decode(mixed))
            assert clips.shape == x.shape and 0 <= clips.min() and clips.max() <= 1
        assert ours.sample(Z).shape == Z.shape and ours(x).shape == x.shape

def test_all_channels_of_s_are_our_swap(model, x):
    ours, f, g = MSDModel(model), model.encode(x[:3]), model.encode(x[3:])
    one, two = ours.swap_channels(ours.encode(x[:3]), ours.encode(x[3:]), ours.sides()['static'])
    assert torch.equal(one, g.swap(f).cond()) and torch.equal(two, f.swap(g).cond())
    one, two = ours.swap_channels(ours.encode(x[:3]), ours.encode(x[3:]), ours.sides()['dynamic'])
    assert torch.equal(one, f.swap(g).cond()) and torch.equal(two, g.swap(f).cond())

def test_decoding_is_the_model_s_own(model, x):
    def generator(): return torch.Generator().manual_seed(3)
    ours = MSDModel(model, n_steps=2, generator=generator())
    assert torch.equal(ours.decode(ours.encode(x)), model.decode(model.encode(x), n_steps=2, generator=generator()))

def test_a_channel_of_d_is_exchanged_in_all_frames(model, x):
    ours = MSDModel(model)
    Z1, Z2 = torch.zeros(2, 4, 7), torch.ones(2, 4, 7)
    one, two = ours.swap_channels(Z1, Z2, torch.tensor([6]))
    assert one[..., 6].all() and not one[..., :6].any() and not two[..., 6].any() and two[..., :6].all()
    assert not Z1.any() and Z2.all(), 'the arguments stay as they were'

def test_latent_vector_is_s_and_the_mean_of_d(model, x):
    f = model.encode(x)
    v = MSDModel(model).latent_vector(x)
    assert v.shape == (6, 7) and torch.equal(v[:, :5], f.s) and torch.allclose(v[:, 5:], f.d.sum(1) / 4, atol=1e-6)

def test_samples(model, x):
    ours = MSDModel(model)
    Z = ours.encode(x)
    assert sorted(ours.sample(Z)[:, 0, 0].tolist()) == sorted(Z[:, 0, 0].tolist())
    ours = MSDModel(model, prior=make_prior(model, model.encode(x), n_steps=2))
    new = ours.sample(Z)
    assert new.shape == Z.shape and torch.equal(new[:, 0, :5], new[:, 3, :5]), 's is the same in all frames'
    with pytest.raises(BadInput, match='prior'): ours.sample(Z[:, :3])

@pytest.mark.parametrize('act, says', [
    (lambda m: channel_mask([7], 7), 'channel: 7; expected 0 to 6'),
    (lambda m: channel_mask([-1], 7), 'channel: -1'),
    (lambda m: channel_mask([1.5], 7), 'channel: 1.5'),
    (lambda m: MSDModel(object()), 'dims='),
    (lambda m: MSDModel(m, dims=(4, 2)).encode(torch.rand(2, 3, 3, 16, 16)), 'leave dims out'),
    (lambda m: MSDModel(m).encode(torch.rand(2, 3, 16, 16, 3)), 'move the channels')])
def test_refusals_of_the_adapter(model, act, says):
    with pytest.raises(BadInput) as e: act(model)
    assert says in str(e.value)


# The reader

VALUES = {'left': 0, 'right': 1}
FACTORS = dict(move=dict(index=0, type='dynamic', n_classes=2, ignore=False, values=VALUES),
               hidden=dict(index=1, type='static', n_classes=9, ignore=True, values={}),
               body=dict(index=2, type='static', n_classes=3, ignore=False, values={'a': 0, 'b': 1, 'c': 2}))
CLIPS = np.random.default_rng(0).integers(256, size=(20, 5, 3, 8, 8), dtype=np.uint8)
LABELS = np.stack([np.arange(20) % 2, np.arange(20), np.arange(20) % 3], 1)
INDICES = dict(train=np.arange(14)[::-1], val=np.array([14, 16]), test=np.array([19, 15, 17, 18]))

def write(path, data=CLIPS, labels=LABELS, indices=INDICES, classes=FACTORS, **options):
    h5py = pytest.importorskip('h5py')
    with h5py.File(path, 'w') as f:
        if data is not None: f.create_dataset('data', data=data, **options)
        if labels is not None: f['labels'] = labels
        for split, i in indices.items(): f[f'{split}_indices'] = i
        if classes is not None: f.attrs['classes'] = classes if isinstance(classes, str) else json.dumps(classes)
    return path

def test_reads_hdf5(tmp_path):
    data = MSDClips(write(tmp_path/'sprites.h5'), 'test')
    assert (data.name, len(data), data.frame_shape) == ('msd_sprites', 4, (3, 8, 8))
    assert np.array_equal(data.clip(0), CLIPS[19]) and np.array_equal(data.clip(3, 2), CLIPS[18, [0, 4]])
    assert data.labels['move'].tolist() == ['right', 'right', 'right', 'left'] and 'hidden' not in data.labels
    assert data.labels['body'].tolist() == ['b', 'a', 'c', 'a'] and data.class_dims() == dict(move=2, body=3)
    assert data.factors('static') == ['body'] and data.who.tolist() == ['b', 'a', 'c', 'a']
    assert len(MSDClips(tmp_path/'sprites.h5')) == 14 and len(MSDClips(str(tmp_path/'sprites.h5'), 'val')) == 2

def test_is_a_dataset_like_ours(tmp_path, model):
    data = MSDClips(write(tmp_path/'a.h5'))
    clips = data.draw(np.random.default_rng(0), 7, 3)
    assert clips.shape == (7, 3, 3, 8, 8) and clips.dtype == torch.uint8
    assert torch.equal(pickle.loads(pickle.dumps(data)).draw(np.random.default_rng(0), 7, 3), clips)
    pairs = data.pairs(5, n_frames=4)
    assert pairs.truth is None and pairs.static.shape == (5, 4, 3, 8, 8)
    (mean, std), axes = data.normalisation, (0, 1, 3, 4)
    assert np.allclose(mean, CLIPS[:14].mean(axes) / 255) and np.allclose(std, CLIPS[:14].std(axes) / 255)
    assert np.allclose(MSDClips(tmp_path/'a.h5', 'test').normalisation, (mean, std)), 'always of the training part'
    with pytest.raises(BadInput, match='there are 14 clips'): data.clip(14)
    big = write(tmp_path/'big.h5', CLIPS.repeat(2, 3).repeat(2, 4))
    assert set(swap_error(model, MSDClips(big).pairs(2, n_frames=3), n_steps=2).metrics) == {'reconstruction_mse'}

def test_reads_channels_last_series_and_unknown_labels(tmp_path):
    last = MSDClips(write(tmp_path/'last.h5', CLIPS.transpose(0, 1, 3, 4, 2)))
    assert last.frame_shape == (3, 8, 8) and np.array_equal(last.clip(0), CLIPS[13])
    series = CLIPS[:, :, 0, 0].astype(np.float32)
    labels = LABELS.copy()
    labels[13, 0] = -1
    data = MSDClips(write(tmp_path/'series.h5', series, labels))
    assert data.frame_shape == (8,) and np.array_equal(data.clip(0), series[13]) and data.labels['move'][0] == 'unknown'
    assert np.allclose(data.normalisation[0], series[:14].mean((0, 1)))

def without(key): return {k: {a: b for a, b in v.items() if a != key} for k, v in FACTORS.items()}

@pytest.mark.parametrize('change, says', [
    (dict(data=None), 'no data'), (dict(labels=None), 'no labels'), (dict(classes=None), 'no classes'),
    (dict(indices={}), "no split 'train'; expected one of none"), (dict(labels=LABELS[:5]), 'labels (5, 3) for 20'),
    (dict(labels=LABELS[:, :1]), 'column 2'), (dict(labels=LABELS + 5), "label 5 of 'move'"),
    (dict(indices=dict(train=np.array([20]))), 'train_indices from 20'),
    (dict(indices=dict(train=np.zeros(0, int))), 'no clip in the split'), (dict(classes='{'), 'cannot be read'),
    (dict(classes='[]'), 'a list'), (dict(classes=without('type')), 'has no type'),
    (dict(classes={'move': FACTORS['move'] | dict(type='other')}), "of type 'other'"),
    (dict(classes={'move': FACTORS['move'] | dict(index=-1)}), 'index'),
    (dict(classes={'move': FACTORS['move'] | dict(values=[0, 1])}), 'values of factor'),
    (dict(classes={'move': FACTORS['move'] | dict(values={'a': [0]})}), 'values of factor'),
    (dict(classes={'move': FACTORS['move'] | dict(n_classes='two')}), 'n_classes'),
    (dict(classes={'hidden': FACTORS['hidden']}), 'no factor that is not ignored'),
    (dict(data=CLIPS[:, 0, 0, 0]), 'log-mel'), (dict(data=CLIPS[:, :, 0]), 'clips of shape (5, 8, 8)')])
def test_refuses_what_is_not_their_layout(tmp_path, change, says):
    path = write(tmp_path/'wrong.h5', **change)
    with pytest.raises(BadInput) as e: MSDClips(path)
    assert says in str(e.value) and '\n' not in str(e.value) and 'wrong.h5' in str(e.value)

def test_refuses_damaged_files(tmp_path):
    path = write(tmp_path/'a.h5', compression='gzip', chunks=(1, 5, 3, 8, 8))
    whole = path.read_bytes()
    for damage in (whole[:len(whole) // 2], b'', b'no HDF5' * 100):
        path.write_bytes(damage)
        with pytest.raises(BadInput, match='cannot be read as HDF5'): MSDClips(path)
    import h5py
    path.write_bytes(whole)
    with h5py.File(path) as f: start = f['data'].id.get_chunk_info(5).byte_offset # of clip 5
    path.write_bytes(whole[:start] + bytes(200) + whole[start + 200:])
    data = MSDClips(path)
    with pytest.raises(BadInput, match='clip 8 of train: cannot be read'): data.clip(8)
    with pytest.raises(BadInput, match='no such file'): MSDClips(tmp_path/'none.h5')

def test_without_h5py_it_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path/'a.h5')
    monkeypatch.setitem(sys.modules, 'h5py', None)
    with pytest.raises(BadInput, match='pip install h5py'): MSDClips(path)

def write_folder(folder):
    pa = pytest.importorskip('pyarrow')
    import pyarrow.parquet as pq
    from PIL import Image
    def png(frame):
        file = io.BytesIO()
        Image.fromarray(frame.transpose(1, 2, 0)).save(file, 'PNG')
        return dict(bytes=file.getvalue(), path=None)
    (folder/'data').mkdir(parents=True)
    (folder/'classes.json').write_text(json.dumps(FACTORS))
    for split, index in INDICES.items():
        for k, part in enumerate(np.array_split(index, 2)): # two files a split
            clips = [[png(f) for f in CLIPS[i]] for i in part]
            table = dict(id=part, x=clips, move=LABELS[part, 0], body=LABELS[part, 2])
            pq.write_table(pa.table(table), folder/f'data/{split}-0000{k}-of-00002.parquet')
    return folder

def test_reads_a_folder_of_hugging_face(tmp_path):
    folder = write_folder(tmp_path/'msd_sprites')
    data, same = MSDClips(folder, 'test'), MSDClips(write(tmp_path/'sprites.h5'), 'test')
    assert data.name == same.name and data.frame_shape == same.frame_shape
    assert all(torch.equal(data.clip(i), same.clip(i)) for i in range(4))
    assert {k: v.tolist() for k, v in data.labels.items()} == {k: v.tolist() for k, v in same.labels.items()}
    assert torch.equal(pickle.loads(pickle.dumps(data)).clip(1, 2), same.clip(1, 2))
    with pytest.raises(BadInput, match='test, train, val'): MSDClips(folder, 'dev')
    (folder/'data/val-00000-of-00002.parquet').write_bytes(b'PAR1')
    with pytest.raises(BadInput, match='cannot be read as Parquet'): MSDClips(folder, 'val')
    (folder/'classes.json').unlink()
    with pytest.raises(BadInput, match='classes.json: cannot be read'): MSDClips(folder, 'test')


# The score

def table(rows): return pd.DataFrame(rows, index=['a', 'b']).T
KEPT = dict(one=['a'], two=['b'])

def test_score_of_tables_by_hand():
    chance = dict(a=.5, b=.25)
    assert swap_score(table(dict(one=[1, .25], two=[.5, 1])), KEPT, chance) == 1
    assert swap_score(table(dict(one=[1, 1], two=[1, 1])), KEPT, chance) == 1 - (.75 + .5) / 2 / 2 # keeps everything
    assert swap_score(table(dict(one=[.5, .25], two=[.5, .25])), KEPT, chance) == 1 - (.5 + .75) / 2 / 2 # keeps nothing
    nan = float('nan')
    assert swap_score(table(dict(one=[1, .25], two=[nan, nan])), KEPT, chance) == .5 # one group of two is missing

def test_rescaled_is_0_for_chance_and_1_for_perfect():
    chance = [.6, .3]
    scores = swap_scores(table(dict(one=[1, .3], two=[.6, 1], chance=chance)), KEPT, dict(a=2, b=4))
    assert scores['chance measured'] == scores['rescaled'] == 1
    assert abs(scores['theirs: chance 1/K'] - (1 - (.1 + .05) / 2 / 2)) < 1e-12
    assert swap_scores(table(dict(one=chance, two=chance, chance=chance)), KEPT, dict(a=2, b=4))['rescaled'] == 0

class Codes: # clips are series of codes; s is the first of them, d the others
    def encode(self, x): return Factors(x[:, 0, :1], x[..., 1:])
    def decode(self, f): return f.cond()

def codes(n, seed, odds=(.7, .2, .1)):
    rng = np.random.default_rng(seed)
    labels = dict(a=rng.choice(3, n, p=odds), b=rng.integers(4, size=n))
    return torch.tensor(np.stack(list(labels.values()), 1)).float()[:, None].expand(-1, 5, -1), labels

def read(x): return dict(zip('ab', x[:, 0].long().numpy().T))

def test_table_of_a_perfect_model_is_chance_beside_the_diagonal():
    x, labels = codes(200, 0)
    found = swap_table(MSDModel(Codes(), (1, 1)), x, labels, dict(one=[0], two=[1], none=[]), read, batch=64)
    assert found.loc['one', 'a'] == found.loc['two', 'b'] == 1 and found.loc['none'].isna().all()
    assert found.loc['one', 'b'] == found.loc['chance', 'b'] and found.loc['two', 'a'] == found.loc['chance', 'a']
    scores = swap_scores(found, KEPT, dict(a=3, b=4))
    assert scores['chance measured'] == 1 > scores['theirs: chance 1/K']

def test_chance_is_the_sum_of_squares_where_labels_are_uneven():
    x, labels = codes(4000, 1)
    chance = swap_table(MSDModel(Codes(), (1, 1)), x, labels, {}, read).loc['chance']
    assert abs(chance['a'] - .54) < .03 and abs(chance['b'] - .25) < .03

def test_table_takes_names_and_refuses_other_lengths():
    x, labels = codes(50, 2)
    names = {k: np.array([f'{k}{v}' for v in y]) for k, y in labels.items()}
    said = lambda x: {k: np.array([f'{k}{v}' for v in y]) for k, y in read(x).items()}
    ours = MSDModel(Codes(), (1, 1))
    assert swap_table(ours, x, names, dict(one=[0]), said).equals(swap_table(ours, x, labels, dict(one=[0]), read))
    with pytest.raises(BadInput, match='50 clips'): swap_table(ours, x, dict(a=labels['a'][:9]), {}, read)

def test_explorer_finds_the_channels_and_overfits_what_it_was_fitted_on():
    rng = np.random.default_rng(0)
    labels = dict(a=rng.integers(3, size=300), b=rng.integers(3, size=300), c=rng.integers(4, size=300))
    z = rng.standard_normal((300, 4)) * .1
    z[:, 2] += labels['a']
    z[:, 0] += labels['b']
    found = explore(z[:150], labels={k: v[:150] for k, v in labels.items()}, trees=20)
    assert 2 in found.channels['a'] and 0 in found.channels['b']
    assert sorted(c for v in found.channels.values() for c in v) == [0, 1, 2, 3]
    on_test = found.accuracy(z[150:], {k: v[150:] for k, v in labels.items()})
    assert on_test['a'] > .95 and on_test['b'] > .95 and on_test['c'] < .45
    assert found.accuracy(z[:150], {k: v[:150] for k, v in labels.items()})['c'] > .8, 'no label is in z'
    assert 'b' not in explore(z[:, 2:3], labels, trees=2).channels, 'one channel cannot serve two factors'
    with pytest.raises(BadInput, match='one class'): explore(z, dict(a=np.zeros(300)))

def test_nearest_judge():
    known = torch.rand(12, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    judge = NearestJudge(known, dict(a=np.arange(12) % 3, b=[f'name {k}' for k in range(12)]))
    order = torch.randperm(12)
    said = judge((known[order] * 255).round().byte())
    assert said['a'].tolist() == (order % 3).tolist() and said['b'].tolist() == [f'name {k}' for k in order]
    small = NearestJudge(known[:, :1], dict(a=np.arange(12)), view=lambda clips: clips[:, :1])
    assert small(known)['a'].tolist() == list(range(12))
    with pytest.raises(BadInput, match='1 look the same'): NearestJudge(known[[0, 1, 0]], dict(a=[0, 1, 2]))
    with pytest.raises(BadInput, match='values from'): judge(known * 300)

@pytest.mark.parametrize('where', ['stand-in', 'real'])
def test_judge_of_sprites_is_exact_on_rendered_clips(where, tmp_path):
    if where == 'real' and not sheets.is_dir(): pytest.skip('the real sheets are not here')
    data = Sprites(make_sprite_sheets(tmp_path) if where == 'stand-in' else sheets, 'test', clips='action')
    judge, some = sprites_judge(data, moments=(3,)), np.random.default_rng(0).permutation(len(data))[:64]
    said = judge(data.take(some, np.tile(np.arange(8), (64, 1))))
    assert all((said[k] == v[some]).all() for k, v in data.labels.items())
