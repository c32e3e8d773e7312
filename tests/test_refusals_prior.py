"""What prior, components, reader and evaluation refuse, and in which words; and Eq. 9 as it is printed."""
import math
from pathlib import Path
import numpy as np
import pytest, torch
from torch import nn
from diffsda.factors import BadInput, Factors
from diffsda.model import DiffSDA
from diffsda.prior import PriorConfig, check_prior, ddim_timesteps, make_prior
from diffsda.prior_evaluation import nearest_labels
from diffsda.reader import Reader, ReaderConfig, motion_features
from diffsda.traversal import (Components, component_names, correlation_ratios, correlations, fit_components,
                               load_components, principal_components, save_components, traversal_effects, walk_factors)

def seeded(n): return torch.Generator().manual_seed(n)
def refused(act, *words):
    "The sentence names all these words."
    with pytest.raises(BadInput) as e: act()
    assert all(w in str(e.value) for w in words), e.value

@pytest.fixture(scope='module')
def vectors(): return torch.randn(300, 5, generator=seeded(0)) * torch.tensor([1., 10, .1, 3, 2]) + 4

@pytest.fixture(scope='module')
def found(vectors): return principal_components(vectors, 3)

@pytest.mark.parametrize('alpha', [-1.5, -.3, .2, 1.])
@pytest.mark.parametrize('component', [0, 2])
def test_equation_9_as_printed(vectors, found, component, alpha):
    "The printed formula in NumPy; without the root of h, or without the standardisation, the test fails."
    every = vectors.double().numpy()
    s, mu, sigma = every[:7], every.mean(0), every.std(0, ddof=1)
    v, h = found.vectors[component].double().numpy(), 5
    printed = ((s - mu) / sigma + alpha * v * np.sqrt(h)) * sigma + mu
    walked = found.walk(vectors[:7], component, alpha).numpy()
    assert np.allclose(walked, printed, rtol=1e-4, atol=1e-4)
    assert not np.allclose(walked, ((s - mu) / sigma + alpha * v) * sigma + mu, rtol=1e-2)
    assert not np.allclose(walked, s + alpha * v * np.sqrt(h), rtol=1e-2)

def test_alpha_0_is_the_original_to_the_last_bit(vectors, found):
    for i in range(3):
        for zero in (0, 0., -0.): assert torch.equal(found.walk(vectors, i, zero), vectors)

def test_one_standard_deviation(vectors, found):
    "A walk by one_std moves the score by the standard deviation of the scores, and no other score."
    scores = found.scores(vectors)
    for i in range(3):
        moved = found.scores(found.walk(vectors, i, found.one_std(i))) - scores
        others = [j for j in range(3) if j != i]
        assert np.allclose(moved[:, i], scores[:, i].std(), rtol=1e-3) and moved[:, others].abs().max() < 1e-3

@pytest.mark.parametrize('act, words', [
    (lambda c, v: c.walk(v, 3, 1.), ['component: 3', '0 to 2']),
    (lambda c, v: c.walk(v, -1, 1.), ['component: -1']),
    (lambda c, v: c.walk(v, .5, 1.), ['component: 0.5']),
    (lambda c, v: c.walk(v, 0, math.nan), ['alpha: nan', 'a number']),
    (lambda c, v: c.walk(v, 0, math.inf), ['alpha: inf']),
    (lambda c, v: c.walk(v[:, :2], 0, 1.), ['2 dimensions', 'expected 5']),
    (lambda c, v: c.one_std(9), ['component: 9']),
    (lambda c, v: principal_components(v[:1]), ['vectors: 1', '5 or more']),
    (lambda c, v: correlations(c, v, torch.zeros(3, 1), 'a'), ['truth: 3 rows', 'expected 300']),
    (lambda c, v: walk_factors(Factors(v, v[:, None]), c, 0, 1., 'who'), ["factor: 'who'", "'static' or 'dynamic'"]),
    (lambda c, v: fit_components(nn.Linear(1, 1)), ['neither prior nor data'])])
def test_components_refuse(vectors, found, act, words): refused(lambda: act(found, vectors), *words)

def test_a_file_of_components(found, vectors, tmp_path):
    path = tmp_path / 'c.safetensors'
    refused(lambda: load_components(path), 'no such file')
    save_components({'static': found, 'dynamic': principal_components(vectors, 3)}, path, 'abc')
    again = load_components(path)
    assert set(again) == {'static', 'dynamic'}
    for c in again.values(): assert all(torch.equal(getattr(c, k), v) for k, v in vars(found).items())
    good = path.read_bytes()
    path.write_bytes(good[:100])
    refused(lambda: load_components(path), 'not a file of components')
    path.write_bytes(good)
    model = nn.Linear(1, 1)
    model.config = PriorConfig(s_dim=5, d_dim=5)
    refused(lambda: load_components(path, model), 'another model')
    model.config = PriorConfig(s_dim=5, d_dim=4)
    refused(lambda: load_components(path, model), 'dynamic components of shape')

def test_names():
    "A line by r, a curve by the correlation ratio, else the number."
    truth, noise = torch.randn(800, 2, generator=seeded(1)), torch.randn(800, generator=seeded(2))
    plain = Components(torch.ones(3), torch.eye(3), torch.ones(3) / 3, torch.zeros(3))
    vectors = torch.stack([-truth[:, 0], (3 * truth[:, 1]).cos(), noise], 1)
    names = component_names(plain, vectors, truth, ['eye_open', 'hair'])
    assert names[0] == 'eye open, r = -1.00' and names[1].startswith('hair, η = 0.') and names[2] == 'component 2'

def test_few_examples_have_no_correlation_ratio():
    plain = Components(torch.ones(2), torch.eye(2), torch.ones(2) / 2, torch.zeros(2))
    few = torch.randn(16, 2, generator=seeded(1))
    assert (correlation_ratios(plain, few, few, 'ab') == 0).all().all()

@pytest.mark.parametrize('alphas', [None, (-1, 0, 1), (0, .3)])
def test_the_unit_of_an_effect_does_not_depend_on_the_steps(alphas):
    known = Components(torch.tensor([2., 1.]), torch.eye(2), torch.tensor([.5, .5]), torch.zeros(2))
    z = Factors(torch.zeros(3, 2), torch.zeros(3, 1, 1))
    effect = traversal_effects(known, z, lambda f: 3 * f.s, 'ab', alphas=alphas)[1]
    assert np.allclose(effect, [[6, 0], [0, 3]], atol=1e-4)

@pytest.mark.parametrize('act, words', [
    (lambda p: p.flat(Factors(torch.zeros(2, 1), torch.zeros(2, 5, 2))), ['5 frames, d_dim 2, s_dim 1', '4 frames']),
    (lambda p: p.sample(2, 0), ['n_steps: 0']),
    (lambda p: p.sample(2, -1), ['n_steps: -1']),
    (lambda p: ddim_timesteps(10, 0), ['n_steps: 0']),
    (lambda p: check_prior(nn.Linear(2, 2), p), ['another model']),
    (lambda p: PriorConfig(hidden=0), ['hidden=0']),
    (lambda p: DiffSDA.resample(nn.Linear(1, 1), p, None, factor='who'), ["factor: 'who'"])])
def test_prior_refuses(act, words):
    torch.manual_seed(0)
    prior = make_prior(nn.Linear(1, 1), Factors(torch.randn(20, 1), torch.randn(20, 4, 2)), hidden=8)
    refused(lambda: act(prior), *words)

def test_traverse_refuses(found):
    model = DiffSDA.from_pretrained(Path(__file__).resolve().parent.parent / 'checkpoints/cartoon64')
    one, two = (Factors(torch.zeros(n, 48), torch.zeros(n, 2, 12)) for n in (1, 2))
    refused(lambda: model.traverse(one, found, alphas=()), 'alphas: none')
    refused(lambda: model.traverse(one, found, invert=True), 'factors alone')
    refused(lambda: model.traverse(one, found, factor='x'), "factor: 'x'")
    refused(lambda: model.traverse(two, found), '2 clips')
    refused(lambda: model.traverse(one, found), '48 dimensions')

def test_reader_refuses():
    small = Reader(ReaderConfig(size=32, width=8))
    refused(lambda: small.read(torch.zeros(1, 2, 3, 64, 64)), 'resize')
    refused(lambda: small.read(torch.zeros(1, 1, 3, 32, 32)), 'one frame')
    refused(lambda: Reader.from_pretrained('../nowhere'), 'no such folder')
    refused(lambda: nearest_labels(None, None, None, 'x'), "kind: 'x'")

def test_the_names_of_the_reader_are_those_of_its_file():
    names = set(Reader(ReaderConfig()).state_dict())
    some = {'trunk.0.weight', 'trunk.3.weight', 'trunk.18.bias', 'trunk.21.weight', 'trunk.23.bias'}
    assert some <= names and 'expression.weight' in names and len(names) == 34

def test_motion_features_of_a_hand_made_clip():
    values = torch.tensor([0., 5, 1, 2, 3])[None, :, None].expand(1, 5, 9)
    assert np.allclose(motion_features(values)[0, ::9], [2.2, np.std([0, 5, 1, 2, 3], ddof=1), 1, 3])
