"""solver='dpmpp' in every verb, the evaluation and the terminal: as many evaluations as it says, and the same ODE."""
import json
import pytest
import torch
from diffsda import few_steps
from diffsda.evaluation import Evaluation
from diffsda.factors import BadInput, refusal
from diffsda.metrics import swap_error
from diffsda.model import DiffSDA, evaluations
from diffsda.programs import evaluate as main
from diffsda.toys import CartoonFaces
from test_evaluation import FEW, TINY, model, settings # noqa: F401 (model is a fixture)

def counted(net): # a list that grows by one at every call of its denoiser
    calls = []
    net.denoiser.register_forward_pre_hook(lambda *a: calls.append(1))
    return calls

@pytest.fixture
def net():
    torch.manual_seed(0)
    return DiffSDA(TINY).eval()

def test_as_many_evaluations_as_it_says(net):
    clips, calls = torch.rand(2, 3, 3, 64, 64), counted(net)
    factors = net.encode(clips)
    for solver, n in (('heun', 4), ('dpmpp', 4), ('dpmpp', 1), ('dpmpp', None)):
        calls.clear()
        net.decode(factors, solver=solver, n_steps=n)
        assert len(calls) == evaluations(solver, 6 if n is None else n)
    for given, want in ((dict(n_steps=5), 4 + 5), (dict(), 5 + 6)): # the way up takes one evaluation less
        calls.clear()
        net.reconstruct(clips, solver='dpmpp', **given)
        assert len(calls) == want
    pairs = CartoonFaces('test', 4).pairs(2, 3)
    calls.clear()
    swap_error(net, pairs, solver='dpmpp', n_steps=3)
    assert len(calls) == 6                                             # a reconstruction and a swap, three each

def test_both_solvers_end_at_the_same_clip(net):
    factors = net.encode(torch.rand(1, 3, 3, 64, 64))
    x_T = net.fresh_noise(1, 3, 1., generator=torch.Generator().manual_seed(0))
    heun = net.decode(factors, x_T, n_steps=100)
    far, near = ((net.decode(factors, x_T, solver='dpmpp', n_steps=n, sigma_min=.002) - heun).abs().mean()
                 for n in (25, 100))
    assert near < far / 8 and near < .002                              # second order: a sixteenth

def test_a_model_may_have_it_as_its_own(net, tmp_path):
    from dataclasses import replace
    own = DiffSDA(replace(TINY, solver='dpmpp', n_steps=3)).eval()
    own.save_pretrained(tmp_path)
    back, calls = DiffSDA.from_pretrained(tmp_path), []
    calls = counted(back)
    back.decode(back.encode(torch.rand(1, 2, 3, 64, 64)))
    assert len(calls) == 3
    calls.clear()
    back.decode(back.encode(torch.rand(1, 2, 3, 64, 64)), solver='heun', n_steps=2)
    assert len(calls) == 3

def test_refusals(net):
    factors = net.encode(torch.rand(1, 2, 3, 64, 64))
    assert 'heun, dpmpp' in refusal(lambda: net.decode(factors, solver='ddim'))
    assert 'rho' in refusal(lambda: net.decode(factors, solver='dpmpp', rho=7.))
    assert 'at least 2' in refusal(lambda: net.invert(torch.rand(1, 2, 3, 64, 64), solver='dpmpp', n_steps=1))
    with pytest.raises(BadInput, match='finite'): few_steps.sample(lambda x, s: x, torch.full((2,), torch.nan))

def test_evaluation_says_which(model, tmp_path, capsys): # noqa: F811
    main([w for k, v in (FEW | dict(model=model, out=tmp_path, solver='dpmpp')).items() for w in (f'--{k}', str(v))])
    found = json.loads((tmp_path / 'results.json').read_text())
    assert (found['solver'], found['evaluations']) == ('dpmpp', 2) and found['depends_on']['solver'] == 'dpmpp'
    with pytest.raises(BadInput, match="'heun' or 'dpmpp'"): Evaluation(settings(model, tmp_path, solver='euler'))
