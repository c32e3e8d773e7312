"""Fixed pairs, the noise of a swap, reconstructions and intervals, beyond what nbs/64_protocol.ipynb shows."""
import numpy as np
import pandas as pd
import pytest
import torch
from diffsda.factors import BadInput, Factors, refusal
from diffsda.protocol import (Pairs, bootstrap, check_published, difference, fixed_pairs, identities, load_pairs,
                              read_pairs, reconstruct, swap_both, write_pairs)
from diffsda.toys import CartoonFaces

class World:
    "Clips whose frames say which clip and which frame they are; truth is known."
    name, frame_shape = 'world', (3, 4, 4)
    def __init__(self, names, who, lengths=9, aligned=False):
        self.labels, self.who, self.aligned = dict(id=np.array(names)), np.array(who), aligned
        self.lengths = np.full(len(names), lengths)
    def __len__(self): return len(self.who)
    def take(self, clips, frames):
        value = torch.as_tensor(np.asarray(clips)[:, None] * 10 + np.asarray(frames)).float()
        return value[..., None, None, None].expand(-1, -1, *self.frame_shape) / 1000

names = [f'clip {k}' for k in range(40)]
world = World(names, [k // 2 for k in range(40)])

def test_order_of_the_clips_does_not_matter():
    order = np.random.default_rng(0).permutation(40)
    other = World([names[k] for k in order], world.who[order])
    a, b = fixed_pairs(world, 20), fixed_pairs(other, 20)
    assert a.x == b.x and a.x_hat == b.x_hat and (a.at_x == b.at_x).all()

def test_one_clip_more_changes_few_pairs():
    more = World([*names, 'one more'], [*world.who, 99])
    a, b = (set(zip(p.x, p.x_hat)) for p in (fixed_pairs(world, 30), fixed_pairs(more, 30)))
    assert len(a & b) >= 12

def test_every_pair_once_and_never_one_person():
    p = fixed_pairs(world, 200)
    person = dict(zip(names, world.who))
    assert len(set(zip(p.x, p.x_hat))) == 200 and all(person[a] != person[b] for a, b in zip(p.x, p.x_hat))
    assert p.groups.tolist() == [k // 2 for k in range(200)]

def test_aligned_clips_get_frames_of_their_own():
    p = fixed_pairs(World(names, world.who, 72, aligned=True), 20, 8)
    assert len({tuple(row) for row in p.at_x}) > 5 and (np.diff(p.at_x) > 0).all()

@pytest.mark.parametrize('who, given, words', [
    ([0] * 40, dict(n=4), '1 identity among'), (world.who, dict(n=4, n_frames=10), '0 identity'),
    (world.who, dict(n=0), 'pairs: 0'), ([0, 1] + [0] * 38, dict(n=400), 'ask for fewer: pairs=78')])
def test_pairs_that_cannot_be(who, given, words):
    assert words in refusal(lambda: fixed_pairs(World(names, who), **given))

def test_data_without_identities_say_so():
    data = World(names, world.who)
    del data.who
    data.labels['mood'] = np.array(['glad'] * 40)
    assert 'no label names who' in refusal(lambda: identities(data))

@pytest.mark.parametrize('old, new, words', [
    ('world,', 'mug,', "pairs of the dataset 'mug'"), ('clip 1', 'clip 99', "there is no clip 'clip 99"),
    ('frames_x,', 'frames,', 'no column frames_x'), (' 8,', ' 9,', 'from 0 to 8'), (' 8,', ' x,', 'from 0 to 8'),
    (' 8,', ',', '7 numbers')])
def test_pairs_of_another_world(old, new, words, tmp_path):
    path = tmp_path / 'pairs.csv'
    write_pairs(path, fixed_pairs(world, 40))
    assert read_pairs(path, world).x == fixed_pairs(world, 40).x
    path.write_text(path.read_text().replace(old, new))
    assert words in refusal(lambda: read_pairs(path, world))

def test_a_spreadsheet_may_have_saved_the_pairs(tmp_path):
    path = tmp_path / 'pairs.csv'
    write_pairs(path, fixed_pairs(world, 4))
    path.write_text('\ufeff' + path.read_text().replace('\n', '\r\n'), encoding='utf-8', newline='')
    assert read_pairs(path, world).x == fixed_pairs(world, 4).x
    path.write_text(path.read_text(encoding='utf-8-sig').replace(',', ';'))
    assert "separated by ';'" in refusal(lambda: read_pairs(path, world))

def test_right_answers_belong_to_the_direction():
    faces = CartoonFaces('test', 12, 8, size=32, clips_per_identity=1)
    clips = load_pairs(faces, fixed_pairs(faces, 6, 4))
    assert torch.equal(clips.x[0], clips.x_hat[1]) and torch.equal(clips.right_s[0], clips.right_d[1])
    assert not torch.equal(clips.right_s[0], clips.right_d[0])

class Echo:
    "s is the first pixel of a clip, d its frames less that; the noise of a clip is the clip."
    log = None
    def encode(self, x):
        s = x[:, 0, :1, 0, 0]
        return Factors(s, x[:, :, :1, 0, 0] - s[:, None])
    def decode(self, z, x_T=None, generator=None, n_steps=None, temperature=None):
        self.log.append((None if x_T is None else x_T.clone(), n_steps, temperature))
        return (z.s[:, None] + z.d)[..., None, None].expand(*z.d.shape[:2], 3, 4, 4)
    def invert(self, clip, factors=None, n_steps=None): return clip

def test_which_noise_a_swap_starts_from():
    p = load_pairs(world, fixed_pairs(world, 6, 4))
    for noise, wanted in dict(fresh=(None, None), donor=(p.x_hat, p.x), reference=(p.x, p.x),
                               static=(p.x, p.x_hat)).items():
        model = Echo()
        model.log = []
        x_s, x_d = swap_both(model, p.x, p.x_hat, noise, n_steps=7, batch=6)
        for (x_T, n_steps, _), want in zip(model.log, wanted):
            assert n_steps == 7 and (x_T is None if want is None else torch.equal(x_T, want))
        at = p.x_hat - p.x_hat[:, :1]
        assert torch.allclose(x_s, p.x[:, :1] + at, atol=1e-6) and torch.allclose(x_d[0], x_s[1], atol=1e-6)

def test_kinds_of_reconstruction():
    p, model = load_pairs(world, fixed_pairs(world, 4, 4)), Echo()
    model.log = []
    for kind in ('own', 'fresh', 'mean'):
        assert torch.allclose(reconstruct(model, p.x, kind, n_steps=5), p.x, atol=1e-6)
    (own, *_), (fresh, five, _), (none, one, cold) = model.log
    assert torch.equal(own, p.x) and fresh is None and five == 5 and none is None and (one, cold) == (1, 0.)

class NoNoise(Echo):
    invert = property() # raises AttributeError, as a model without it

def test_a_model_without_noise_of_its_own():
    p, model = load_pairs(world, fixed_pairs(world, 4, 4)), NoNoise()
    model.log = []
    swap_both(model, p.x, p.x_hat)
    assert 'without a starting noise' in refusal(lambda: swap_both(model, p.x, p.x_hat, 'donor'))
    assert 'without a starting noise' in refusal(lambda: reconstruct(model, p.x, 'own'))
    assert "'fresh' or 'donor'" in refusal(lambda: swap_both(model, p.x, p.x_hat, 'fersh'))

def test_bootstrap_with_holes():
    v = np.array([[1, 2, np.nan, 4], [3, np.nan, np.nan, 4]])
    got = bootstrap(v)
    assert got.n == 3 and got.mean == pytest.approx((2 + 2 + 4) / 3) and got.low >= 2 and got.high <= 4
    with pytest.raises(BadInput, match='none is a number'): bootstrap([np.nan])
    same = bootstrap([5.] * 9)
    assert (same.low, same.high) == (5, 5)

def test_paired_difference_uses_pairs_that_both_have():
    a, b = np.array([1., 2, np.nan, 9]), np.array([0., 1, 3, np.nan])
    got = difference(a, b)
    assert got.mean == 1 and got.n == 2

def test_published_rows_by_hand():
    row = dict(table=6, method='X', inter_entropy=.1, marginal_entropy=1.7)
    def table(score): return pd.DataFrame([dict(table=6, method='X', metric=k, value=v) for k, v in
        dict(inter_entropy=.1, marginal_entropy=1.7, inception_score=score).items()])
    exact = np.exp(row['marginal_entropy'] - row['inter_entropy'])
    verdicts = [check_published(table(v)).verdict[0] for v in (exact, exact - .1, exact + .1)]
    assert verdicts[0] == 'ok' and 'impossible' in verdicts[1] and 'spread' in verdicts[2]

def test_published_table_is_whole():
    from pathlib import Path
    t = pd.read_csv(Path(__file__).parents[1] / 'figures/published.csv')
    counts = t.dropna(subset=['table']).groupby('table').size().to_dict()
    assert counts == {1: 4 * 3 * 2, 2: 4 * 3 * 3, 3: 9 * 3, 6: 9 * 4 + 3}
    assert not t.duplicated(['table', 'dataset', 'method', 'metric']).any() and t.source.notna().all()
