"""The baselines in the one engine: trained, resumed, measured, refused. nbs/45_baselines.ipynb derives them."""
import json
import pytest
import torch
from fixtures_speech import make_librispeech
from diffsda.baselines import (CLASSES, METHODS, SLIPS, Baseline, OwnPrior, baseline_config,
    configure_baseline, content_view, cycled, motion_view, open_model)
from diffsda.evaluation import Evaluation
from diffsda.experiment import Experiment
from diffsda.explorer import New, Swap, Walk, open_session
from diffsda.factors import refusal
from diffsda.programs import train as main
from diffsda.settings import EvaluationSettings, Settings, read_settings
from diffsda.toys import CartoonFaces
from diffsda.training import TrainConfig, Trainer
from diffsda.verification import open_voices, verify

tiny = dict(dataset='cartoon', n_clips=24, pairs=2, batch_size=4, n_frames=3, precision='no')

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
    assert found['frame'] == [80] and found['static_eer'] >= 0 and 0 <= found['sampled_eer'] <= 1
    voices = open_voices(tmp_path)
    once, again = (verify(voices.model, voices.utterances, 12) for _ in range(2))
    assert once == again and once['sampled_eer'] != once['dynamic_eer']

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
    (dict(method='spyl', s_dim=0), 'parameter s_dim'), (dict(sizes='published'), 'they are of a baseline'),
    (dict(method='dbse', sizes='theirs'), "'published'")])
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

def small(method, **given): # -> Baseline of 32 x 32 frames
    torch.manual_seed(0)
    return Baseline(baseline_config(method, frame=(3, 32, 32), width=8, g=16, rnn=16, **given))

def test_slips_one_by_one():
    "Each of them changes what it says, and nothing else does."
    x = torch.rand(4, 5, 3, 32, 32)
    def parts(method, **given):
        model = small(method, **given).train()
        torch.manual_seed(1)
        return {k: v.item() for k, v in model.parts(x).items()}
    def changed(method, slips, **given):
        a, b = parts(method, **given), parts(method, slips=slips, **given)
        return {k for k in a if abs(a[k] - b[k]) > 1e-6 * abs(a[k])}
    assert changed('c-dsvae', 'mi') <= {'information'} and changed('dsvae', 'free') == {'motion'}
    assert 'static' in changed('dsvae', 'leaky') and not changed('dbse', 'slot') and not changed('spyl', 'hard')
    assert parts('dbse', cycle=8, slips='cycle')['static'] == 0 and not changed('dbse', 'cycle')
    assert changed('spyl', 'hard', negatives='hard') == {'contrast'}
    q_s, _ = small('dsvae', slips='leaky').infer(x)
    plain, _ = small('dsvae').infer(x)
    assert torch.allclose(q_s.mean, torch.where(plain.mean > 0, plain.mean, .2 * plain.mean))

def test_slips_of_encoding():
    x = torch.rand(4, 5, 3, 32, 32)
    model = small('dbse', slips='slot').eval()
    assert not torch.equal(model.encode(x).d, model.encode(x).d)             # new noise each time
    model = small('spyl', slips='batch').eval()
    before = model.frames[1].running_mean.clone()
    assert not torch.allclose(model.encode(x[:2]).s, model.encode(x).s[:2])  # depends on the company
    assert not torch.equal(model.frames[1].running_mean, before) and not model.frames[1].training

def test_cycle_of_the_divergences():
    "Beside the recurrence of the published code: the weight is multiplied by every value, and the first is 0."
    values, weight = [cycled(k, 10) for k in range(25)], 1.
    for v in values: weight *= v
    assert weight == 0 and values[5:10] == [1.] * 5 and values[:10] == values[10:20]
    model, x = small('dbse', cycle=8).train(), torch.rand(2, 4, 3, 32, 32)
    assert model.parts(x)['static'] == 0 == model.parts(x)['motion']
    model.steps += 4
    assert model.parts(x)['motion'] > 0

def test_the_first_frame_apart():
    "DBSE on MUG: the reconstruction error leaves the first frame to its own term. By hand, as sums over pixels."
    model, x = small('dbse', apart=True, w_rec=87., w_first=30.).train(), torch.rand(2, 4, 3, 32, 32)
    torch.manual_seed(3)
    q_s, q_d = model.infer(x)
    wrong = (model.output(q_s.sample(), q_d.sample()) - x) ** 2
    torch.manual_seed(3)
    found = model.parts(x)
    scale = 8 * 3 * 64 * 64 / x[0].numel()
    assert found['reconstruction'].item() == pytest.approx(87 * scale * wrong[:, 1:].sum().item() / 2, rel=1e-4)
    assert found['first frame'].item() == pytest.approx(30 * scale * wrong[:, 0].sum().item() / 2, rel=1e-4)

def test_published_sizes():
    config, of = configure_baseline(Settings(method='dbse', sizes='published', preset='mug'))
    assert (config.s_dim, config.w_rec, config.apart, of['n_frames'], of['lr']) == (64, 87., True, 15, 1.5e-3)
    config, _ = configure_baseline(Settings(method='dbse', sizes='published_code', preset='mug'))
    assert config.slips == 'slot cycle' and config.cycle == 5500
    config, _ = configure_baseline(Settings(method='c-dsvae', sizes='published_code', preset='cartoon64'))
    assert config.slips == 'mi leaky' and config.frame == (3, 64, 64) and config.s_dim == 256

def test_sizes_for_two_cores():
    def of(**kw): return configure_baseline(Settings(**dict(preset='cartoon64', method='dbse') | kw))[0]
    ours, equal = of(), of(sizes='diffsda')
    assert (ours.s_dim, ours.d_dim, ours.w_s, ours.width) == (256, 256, 15., 16)
    assert (equal.s_dim, equal.d_dim, equal.w_s) == (48, 12, METHODS['dbse']['w_s']) # DiffSDA's factors
    assert of(d_dim=5).d_dim == 5 and of(method='dsvae').w_s == 1
    sound = of(preset='', dataset='librispeech')
    assert (sound.s_dim, sound.d_dim, sound.w_s) == (32, 4, 1.)

def test_sound_of_dbse_by_hand():
    "The second term of its loss is the whole clip from s alone; both are sums over values, as of 20 spectra of 201."
    torch.manual_seed(0)
    model, x = Baseline(baseline_config('dbse', frame=(80,), g=16, rnn=16)).train(), torch.rand(2, 7, 80)
    torch.manual_seed(3)
    s = model.infer(x)[0].sample()
    torch.manual_seed(3)
    wrong = ((model.output(s, torch.zeros(2, 7, 8)) - x) ** 2).sum().item() / 2
    assert model.parts(x)['first frame'].item() == pytest.approx(100 * 20 * 201 / (7 * 80) * wrong, rel=1e-4)

def test_in_the_explorer(tmp_path):
    train(tmp_path / 'run', method='spyl', steps=2)
    session = open_session(tmp_path / 'run', n=3, n_frames=4)
    assert isinstance(session.prior, OwnPrior)
    for request in (Swap(0, 1), Walk(0, 'static', 0, .5), New(1, 'static', 0), New(1, 'both', 0)):
        made = session.render(request)[-1].clip
        assert made.shape == (4, 3, 32, 32) and torch.isfinite(made).all()

def test_unknown_method(tmp_path):
    small('dbse').save_pretrained(tmp_path)
    config = json.loads((tmp_path / 'config.json').read_text())
    (tmp_path / 'config.json').write_text(json.dumps(config | dict(method='seventh')))
    assert "method 'seventh' is not known" in refusal(lambda: open_model(tmp_path)) and 'seventh' not in CLASSES
    assert 'slips' in refusal(lambda: baseline_config('dbse', slips='none')) and len(SLIPS) == 7

def test_the_front_end_of_the_authors(tmp_path):
    "A run with it is measured with it: the test utterances have 68 frames for each piece of 0.8 s, on the scale of ln."
    books = make_librispeech(tmp_path / 'books', range(30, 45), seconds=2)
    train(tmp_path / 'run', dataset='librispeech', data_dir=str(books), frontend='authors', method='dsvae', steps=2,
          n_frames=68, n_clips=0).measure(verbose=False)
    voices = open_voices(tmp_path / 'run', data_dir=str(books))
    assert {len(mel) % 68 for mel, _, _ in voices.utterances} == {0} and voices.utterances[0][0].min() < -6
    assert verify(voices.model, voices.utterances, 68)['utterances'] == len(voices.utterances)
