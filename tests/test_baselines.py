"""The baselines in the one engine: trained, resumed, measured, refused. nbs/45_baselines.ipynb derives them."""
import json
import pytest
import torch
from diffsda.baselines import METHODS, Baseline, baseline_config, content_view, motion_view, open_model
from diffsda.evaluation import Evaluation, EvaluationSettings
from diffsda.experiment import Experiment, main
from diffsda.factors import refusal
from diffsda.settings import read_settings
from diffsda.toys import CartoonFaces
from diffsda.training import TrainConfig, Trainer

tiny = dict(dataset='cartoon', n_clips=24, pairs=2, batch_size=4, n_frames=3)

def train(folder, **given):
    return Experiment(read_settings(tiny | dict(run=str(folder)) | given), verbose=False).train()

@pytest.mark.parametrize('method', METHODS)
def test_trained_and_measured(method, tmp_path):
    e = train(tmp_path, method=method, steps=3)
    found = e.measure(verbose=False)
    assert found['method'] == method and found['swap_mse'] > 0 and 'inversion_psnr' not in found
    model = open_model(tmp_path)
    assert isinstance(model, Baseline) and model.config.method == method and int(model.steps) == 3
    assert 'Baseline.from_pretrained' in ' '.join(e.left_behind().values())

class Stops(CartoonFaces):
    "Its fifth batch cannot be read, once."
    def draw(self, rng, batch_size, n_frames):
        self.left = getattr(self, 'left', 99) - (n_frames == 3)
        if self.left < 0: raise OSError('the disk is gone')
        return super().draw(rng, batch_size, n_frames)

def test_resume_is_exact_through_the_warm_up(tmp_path):
    "The contrast of SPYL begins after the fourth step; the run is killed in the fifth and goes on after the third."
    config = TrainConfig(steps=8, batch_size=4, n_frames=3, checkpoint_every=3, ema=0., weight_decay=0.)
    def run(folder, data, resume=False):
        torch.manual_seed(0)
        model = Baseline(baseline_config('spyl', frame=(3, 32, 32), width=8, g=16, rnn=16, warmup=4))
        return Trainer(model, data, config, tmp_path / folder, resume, verbose=False).fit()
    whole, data = run('whole', CartoonFaces('train', 16, 8, size=32)), Stops('train', 16, 8, size=32)
    data.left = 5
    with pytest.raises(OSError): run('parts', data)
    data.left = 99
    parts = run('parts', data, resume=True)
    assert int(parts.steps) == 8 and all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(),
                                                                           parts.state_dict().values()))

def test_sound(tmp_path):
    found = train(tmp_path, dataset='vowels', method='dbse', steps=2, n_frames=12).measure(verbose=False)
    assert found['frame'] == [80] and found['static_eer'] >= 0

def test_a_baseline_through_the_protocol(tmp_path):
    train(tmp_path / 'run', method='dsvae', steps=2)
    few = dict(model=str(tmp_path / 'run'), n_clips=12, pairs=4, n_frames=3)
    few |= dict.fromkeys(('judge', 'points', 'identity'), 'none')
    e = Evaluation(read_settings(few | dict(out=str(tmp_path / 'out')), EvaluationSettings))
    rows = e.swaps()
    assert 'dsvae' in rows and len(rows['dsvae']) == 1 and list(e.reconstructions()) == ['dsvae']
    assert len(e.against_copies(rows)) == 2
    odd = read_settings(few | dict(noise='donor'), EvaluationSettings)
    assert 'without a starting noise' in refusal(lambda: Evaluation(odd).swaps())

@pytest.mark.parametrize('given, words', [
    (dict(method='sply'), "'diffsda' or 'dsvae'"), (dict(method='dbse', d_noise=.5), 'method dbse has none'),
    (dict(method='dbse', start='checkpoints/cartoon64'), 'begins from nothing'),
    (dict(method='spyl', s_dim=0), 'parameter s_dim')])
def test_one_sentence(given, words, tmp_path): assert words in refusal(lambda: train(tmp_path, steps=1, **given))

def test_terminal(tmp_path, capsys):
    main([w for k, v in (tiny | dict(method='c-dsvae', steps=2, run=tmp_path)).items() for w in (f'--{k}', str(v))])
    assert json.loads((tmp_path / 'metrics.json').read_text())['method'] == 'c-dsvae'
    assert json.loads((tmp_path / 'config.json').read_text())['method'] == 'c-dsvae'

def test_views_change_one_thing():
    torch.manual_seed(0)
    x = torch.rand(3, 5, 3, 16, 16)
    other = content_view(x)
    assert torch.allclose(other.mean((1, 3, 4)), x.mean((1, 3, 4)), atol=1e-6) and not torch.equal(other, x)
    gain = motion_view(torch.ones(3, 5, 3, 4, 4) * .5)
    assert (gain - gain[:, :1]).abs().max() == 0 and gain.min() >= 0 and gain.max() <= 1 # one change for all frames

def test_dbse_encodes_the_same_twice():
    model = Baseline(baseline_config('dbse', frame=(3, 32, 32), width=8)).eval()
    x = torch.rand(2, 4, 3, 32, 32)
    once, again, first = model.encode(x).d, model.encode(x).d, model.encode(x[:1]).d
    assert torch.equal(once, again) and torch.allclose(first, once[:1], atol=1e-6)
