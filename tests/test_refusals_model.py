"""What a model, its settings, its files and its trainer refuse, each with a sentence that names the thing."""
import json
from dataclasses import replace
from pathlib import Path
import numpy as np
import pytest, torch
from safetensors.torch import load_file, save_file
from diffsda.codec import fit_pixels, fit_series
from diffsda.factors import Factors, refusal
from diffsda.model import DiffSDA, build_networks, evaluating
from diffsda.presets import PRESETS, TABLE4, TABLE5, ModelConfig, from_table4, parse_cell
from diffsda.training import CSVTracker, TrainConfig, load_checkpoint

tiny = ModelConfig(frame=(3, 32, 32), base=16, mults=(1, 2), n_res=1, attn=(), patch=8, hidden=16, s_dim=4, d_dim=2,
                   enc_base=16, enc_mults=(1, 2), enc_n_res=1, enc_attn=(), enc_patch=8)

@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return DiffSDA(tiny)

@pytest.fixture(scope='module')
def clips():
    return torch.randint(0, 256, (2, 3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

@pytest.fixture()
def saved(model, tmp_path):
    model.save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize('name, value', [
    ('std', 0), ('temperature', float('nan')), ('temperature', -1), ('n_steps', -3), ('n_steps', 0), ('base', 2.5),
    ('base', True), ('mults', ()), ('mults', (1, 0)), ('patch', 0), ('attn', 2), ('attn', (-1,)), ('frame', '64'),
    ('latent', 1), ('backbone', 3), ('P_mean', 'x'),
    ('P_std', 0.), ('d_noise', -.1), ('mean', (0., float('inf'))), ('std', (.5, 0.)), ('first_stage', None)])
def test_settings_that_no_model_has(name, value):
    assert f'{name}={value!r}' in refusal(lambda: ModelConfig(**{name: value}))

def test_settings_that_a_model_may_have():
    config = ModelConfig(attn=[], dropout=0, temperature=0, d_noise=0, mean=[0., -1.], std=[1, 2.], P_mean=-3)
    assert config.attn == () and config.mean == (0., -1.)

@pytest.mark.parametrize('config, words', [
    (dict(frame=(3, 50, 50), patch=4), ['50x50', 'multiples of 32']),
    (dict(frame=(80,)), ["'unet' for frames of shape (80,)", "'mlp' for vectors"]),
    (dict(frame=(3, 64, 64), backbone='mlp'), ["'mlp' for frames of shape (3, 64, 64)", "'unet' for images"]),
    (dict(backbone='transformer'), ["'transformer'"]),
    (dict(input_scaling='loud'), ["input_scaling", "'unit' or 'wiener'"]),
    (dict(static_pooling='max'), ["static_pooling", "'last' or 'mean'"]),
], ids=lambda v: str(next(iter(v))) if isinstance(v, dict) else '')
def test_networks_that_cannot_be_built(config, words):
    said = refusal(lambda: DiffSDA(ModelConfig(**config)))
    assert all(w in said for w in words), said


@pytest.mark.parametrize('wrong, words', [
    (lambda c: c[0], ['dimensions', 'torch.as_tensor(clip)[None]']),
    (lambda c: c[0, 0], ['dimensions', 'torch.as_tensor(frame)[None, None]']),
    (lambda c: c[None], ['dimensions', 'torch.as_tensor(clip).flatten(0, 1)']),
    (lambda c: c[..., ::2, ::2], ['(3, 16, 16)', '(3, 32, 32)', 'resize']),
    (lambda c: c.long() - 1, ['values from -1 to 254']),
    (lambda c: c > 9, ['True and False']),
    (lambda c: c.float(), ['values from', 'divide them by 255']),
    (lambda c: c / 127.5 - 1, ['values from -1', 'floats in [0, 1]']),
    (lambda c: c[:, :0], ['one frame']),
    (lambda c: c[:0], ['one frame']),
    (lambda c: c / 255 + float('nan'), ['not finite']),
])
def test_clips_that_are_refused(model, clips, wrong, words):
    for verb in (model.encode, model.invert, model.reconstruct, lambda c: model.swap(clips, c)):
        said = refusal(lambda: verb(wrong(clips)))
        assert all(w in said for w in words), said

@pytest.mark.parametrize('kind', [
    lambda c: c.numpy(), lambda c: c.tolist(), lambda c: list(c), lambda c: c.long(),
    lambda c: c.numpy().astype('uint16'), lambda c: c / 255, lambda c: c.double() / 255, lambda c: c.numpy() / 255,
    lambda c: (c.numpy() / 255).tolist()])
def test_inputs_of_other_types_give_the_same(model, clips, kind):
    "What the same bytes give as a tensor, to the bit: factors, noise, reconstruction and swap."
    given, n = kind(clips), dict(n_steps=2)
    assert torch.equal(model.encode(given).cond(), model.encode(clips).cond())
    assert torch.equal(model.invert(given, **n), model.invert(clips, **n))
    assert torch.equal(model.reconstruct(given, **n), model.reconstruct(clips, **n))
    assert torch.equal(model.swap(given, clips.flip(0), **n), model.swap(clips, clips.flip(0), **n))

@pytest.mark.parametrize('wrong', [
    lambda c: c.movedim(2, -1), lambda c: c.movedim(2, -1).numpy(), lambda c: c.transpose(1, 2), lambda c: c[:, :, :1],
    lambda c: torch.cat([c, c[:, :, :1]], 2), lambda c: c[0], lambda c: c.float(), lambda c: c / 127.5 - 1,
    lambda c: c.double().numpy(), lambda c: c[None]])
def test_the_mend_of_a_clip_works(model, clips, wrong):
    "The line that the sentence tells to write is written, and the model takes its result."
    clip = wrong(clips[:, :, :1].repeat(1, 1, 3, 1, 1)[:, :2])
    mend = refusal(lambda: model.encode(clip)).split('write ')[-1].split(' for ')[0]
    mended = eval(mend, dict(torch=torch, clip=clip))
    right = clips[:, :, :1].repeat(1, 1, 3, 1, 1)[:1 if wrong(clips).ndim == 4 else 2, :2]
    assert torch.allclose(model.to_x(mended), model.to_x(right), atol=1e-6)

@pytest.mark.parametrize('half', [lambda m: m.half(), lambda m: m.bfloat16(), lambda m: m.double(),
                                  lambda m: m.encoder.half() and m])
def test_a_model_in_another_precision(clips, half):
    model = half(DiffSDA(tiny))
    factors = Factors(torch.zeros(2, 4), torch.zeros(2, 3, 2))
    verbs = lambda: model.encode(clips), lambda: model.swap(clips, clips), lambda: model.decode(factors, n_steps=1)
    for verb in verbs:
        said = refusal(verb)
        assert 'model.float()' in said and 'torch.autocast' in said
    with torch.autocast('cpu', torch.bfloat16): # the mend
        swapped = model.float().swap(clips, clips, n_steps=2)
    assert swapped.dtype == torch.float32 and swapped.isfinite().all()

nan = float('nan')

@pytest.mark.parametrize('options', [
    dict(n_steps=0), dict(n_steps=-1), dict(n_steps=True), dict(n_steps='8'), dict(sigma_min=0), dict(sigma_min=-1.),
    dict(sigma_min=90), dict(sigma_max=0), dict(sigma_max=nan), dict(sigma_max=None), dict(rho=0), dict(rho=nan),
    dict(s_churn=-1), dict(s_noise=nan), dict(temperature=nan), dict(temperature=-.1), dict(temperature='1'),
    dict(generator=0), dict(progress=True)], ids=str)
def test_options_of_the_sampler_that_are_refused(model, clips, options):
    "By every verb; each was NaN, a wrong picture or a traceback."
    name = next(iter(options))
    verbs = [lambda: model.decode(model.encode(clips), **options),
             lambda: model.reconstruct(clips, invert=False, **options),
             lambda: model.swap(clips, clips, invert=False, **options)]
    if name in ('n_steps', 'sigma_min', 'sigma_max', 'rho'):
        verbs += [lambda: model.invert(clips, **options), lambda: model.swap(clips, clips, **options)]
    for verb in verbs: assert refusal(verb).startswith(f'{name}: ')

def test_steps_of_other_types(model, clips):
    seeded = lambda n: model.decode(model.encode(clips), n_steps=n, generator=torch.Generator().manual_seed(0))
    for n in (2., np.int64(2), torch.tensor(2)): assert torch.equal(seeded(n), seeded(2))

@pytest.mark.parametrize('shape', [(2, 3, 3, 16, 16), (2, 3, 3, 64, 64), (1, 3, 3, 32, 32), (2, 1, 3, 32, 32),
                                   (2, 3, 1, 32, 32), (3, 3, 32, 32), (2, 3, 3, 32, 1)])
def test_noise_of_another_shape(model, clips, shape):
    said = refusal(lambda: model.decode(model.encode(clips), 80 * torch.randn(shape)))
    assert str(shape) in said and '(2, 3, 3, 32, 32)' in said

def test_noise_of_another_type_or_scale(model, clips):
    factors, x_T = model.encode(clips), 80 * torch.randn(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain = model.decode(factors, x_T, n_steps=2)
    for same in (x_T.double(), x_T.numpy(), x_T.tolist()):
        assert torch.equal(model.decode(factors, same, n_steps=2), plain)
    said = refusal(lambda: model.decode(factors, x_T / 80))
    assert 'standard deviation 1' in said and 'multiply it by 80' in said
    assert 'x_T: ' in refusal(lambda: model.decode(factors, x_T * nan, n_steps=2))

def test_two_sources_of_noise(model, clips):
    "A temperature scales fresh noise; beside an x_T it did nothing, without a word."
    factors, x_T = model.encode(clips), torch.zeros(2, 3, 3, 32, 32)
    for verb in (lambda: model.decode(factors, x_T, temperature=.5), lambda: model.swap(clips, clips, temperature=.5),
                 lambda: model.reconstruct(clips, temperature=.5)):
        assert 'invert=False' in refusal(verb) and refusal(verb).startswith('temperature: ')
    assert 'invert=False' in refusal(lambda: model.swap(clips, clips, x_T=x_T))
    assert refusal(lambda: model.swap(clips, clips, invert='no')).startswith("invert: 'no'")
    mended = model.swap(clips, clips, invert=False, x_T=x_T, n_steps=2)
    assert torch.equal(mended, model.decode(factors, x_T, n_steps=2))

@pytest.mark.parametrize('change, words', [
    (lambda f: f.replace(s=f.s * nan), ['s of the factors', 'not finite']),
    (lambda f: f.replace(d=f.d / 0), ['d of the factors', 'not finite']),
    (lambda f: f.replace(s=torch.zeros(2, 64)), ['64 values', '4, which this model takes']),
    (lambda f: Factors(f.s[:, :3], torch.zeros(2, 3, 3)), ['3 values', '4, which this model takes']), # the same sum
    (lambda f: f.replace(d=f.d[..., :1]), ['d of the factors: 1 values']), (lambda f: f[:0], ['no clips']),
    (lambda f: (f.s, f.d), ['a tuple', 'Factors(s, d)']), (lambda f: f.s, ['a Tensor']),
    (lambda f: Factors(f.s.to('meta'), f.d.to('meta')), ['meta'])])
def test_factors_that_are_refused(model, clips, change, words):
    factors = change(model.encode(clips))
    for verb in (lambda: model.decode(factors, n_steps=1), lambda: model.invert(clips, factors, n_steps=2)):
        said = refusal(verb)
        assert all(w in said for w in words), said

def test_factors_of_other_types_give_the_same(model, clips):
    f = model.encode(clips)
    decoded = lambda f: model.decode(f, n_steps=2, temperature=0)
    for same in (f.to(torch.float64), Factors(f.s.numpy(), f.d.tolist()), Factors(f.s.double(), f.d)):
        assert torch.equal(decoded(same), decoded(f))

def test_clips_and_factors_are_not_broadcast(model, clips):
    f = model.encode(clips)
    for other in (f[:1], f.replace(d=f.d[:, :1]), f[[0, 1, 0]]):
        assert '2 of 3, as the clips' in refusal(lambda: model.invert(clips, other))
    for a, b in ((clips, clips[:1]), (clips[:1], clips)):
        assert refusal(lambda: model.swap(a, b)).startswith('static and dynamic: ')
    assert model.swap(clips, clips[:, :1], n_steps=2).shape == (2, 1, 3, 32, 32) # d says how long
    assert model.reconstruct(clips[:1, :1], n_steps=2).shape == (1, 1, 3, 32, 32)

def test_frames_are_compared_in_training(model, clips):
    for wrong in (clips[..., ::2, ::2], clips[:, :, :1], clips.movedim(2, -1)):
        assert 'which this model was made for' in refusal(lambda: model.prepare_batch(wrong))

def test_one_band_is_not_stretched():
    "Mean and std of four channels made four channels of one."
    latents = DiffSDA(replace(tiny, frame=(4, 32, 32), latent=True, mean=(0., 1., 2., 3.), std=(.5, 1., 1.5, 2.)))
    sound = DiffSDA(ModelConfig(frame=(8,), backbone='mlp', base=16, mults=(1,), enc_base=16, enc_mults=(1,), hidden=16,
                                s_dim=4, d_dim=2, mean=tuple(range(8)), std=(1.,) * 8))
    assert 'open_stage' in refusal(lambda: latents.encode(torch.rand(2, 3, 3, 32, 32)))
    other = (latents, torch.rand(2, 3, 1, 32, 32)), (sound, torch.rand(2, 3, 1)), (sound, torch.rand(2, 3, 7))
    for model, clip in other:
        for act in (lambda: model.encode(clip), lambda: model.codec.encode(clip), lambda: model.prepare_batch(clip)):
            assert refusal(act).startswith('clips: ')
    assert 'whole numbers' in refusal(lambda: sound.encode(torch.ones(2, 3, 8, dtype=torch.int16)))
    assert 'standard deviations' in refusal(lambda: sound.encode(torch.full((2, 3, 8), 30_000.)))
    assert 'transpose(1, 2)' in refusal(lambda: sound.encode(torch.rand(2, 8, 3)))
    mels = np.random.default_rng(0).normal(size=(2, 3, 8))
    assert torch.equal(sound.encode(mels).s, sound.encode(torch.tensor(mels, dtype=torch.float32)).s)

def test_a_broken_model_gives_no_factors(clips):
    model = DiffSDA(tiny)
    with torch.no_grad(): model.encoder.to_s.weight.fill_(nan)
    assert 's of the factors' in refusal(lambda: model.encode(clips))

@pytest.mark.parametrize('fit, clips, words', [
    (fit_pixels, torch.zeros(2, 3, 3, 4, 4, dtype=torch.uint8), ['all 0.0', 'black']),
    (fit_pixels, torch.rand(2, 3, 3, 4, 4) * 255, ['divide them by 255']),
    (fit_series, torch.full((5, 3), nan), ['15 values not finite']), (fit_series, torch.zeros(1, 3), ['1 frames'])])
def test_training_sets_without_a_scale(fit, clips, words):
    said = refusal(lambda: fit(clips))
    assert all(w in said for w in words), said

def test_floats_and_bytes_have_one_scale(clips): assert fit_pixels(clips / 255) == fit_pixels(clips)

def test_a_refusal_leaves_the_mode_as_it_was(model, clips):
    model.train()
    refusal(lambda: model.encode(clips.float()))
    assert model.training
    with pytest.raises(ZeroDivisionError), evaluating(model): 1 / 0
    assert model.training and torch.is_grad_enabled()
    model.eval()


def test_folders_without_a_model(tmp_path):
    assert 'no such folder' in refusal(lambda: DiffSDA.from_pretrained('no/such/place'))
    assert 'config.json' in refusal(lambda: DiffSDA.from_pretrained(tmp_path))

def test_a_pickle_is_not_opened(saved):
    (saved / 'model.safetensors').rename(saved / 'model.bin')
    assert 'model.bin is a pickle and is not opened' in refusal(lambda: DiffSDA.from_pretrained(saved))

def test_a_truncated_file(saved):
    whole = (saved / 'model.safetensors').read_bytes()
    (saved / 'model.safetensors').write_bytes(whole[:1000])
    assert 'model.safetensors' in refusal(lambda: DiffSDA.from_pretrained(saved))

@pytest.mark.parametrize('odd, words', [
    ({'bass': 32}, ['unknown setting bass']), ({'quiet': True}, ['input_scaling']),
    ({'residual': True}, ['lstm_skip', 'static_pooling']),
    ({'base': 32}, ['another architecture', 'of another shape']), ({'base': 33}, ['DiffSDA']),
    ({'std': 0}, ['std=0']), ({'frame': [3]}, ['(3,)'])], ids=lambda v: next(iter(v)) if isinstance(v, dict) else '')
def test_weights_of_one_model_and_config_of_another(saved, odd, words):
    config = json.loads((saved / 'config.json').read_text())
    (saved / 'config.json').write_text(json.dumps(config | odd))
    said = refusal(lambda: DiffSDA.from_pretrained(saved))
    assert all(w in said for w in words), said

@pytest.mark.parametrize('change, words', [
    (lambda w: dict(list(w.items())[1:]), ['1 missing']),
    (lambda w: w | {'more': torch.ones(1)}, ['more']),
    (lambda w: w | {'encoder.to_d.weight': w['encoder.to_d.weight'] * float('nan')}, ['not finite', 'to_d']),
    (lambda w: w | {'encoder.to_d.weight': w['encoder.to_d.weight'][:1]}, ['of another shape', 'to_d'])])
def test_weights_that_do_not_fit(saved, change, words):
    weights = load_file(saved / 'model.safetensors')
    save_file(change(weights), saved / 'model.safetensors')
    said = refusal(lambda: DiffSDA.from_pretrained(saved))
    assert all(w in said for w in words), said

@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_weights_come_back(model, tmp_path, dtype):
    "Exactly in float32; rounded in float16, and the statistics of `Standardise` in full in both."
    model.save_pretrained(tmp_path, dtype=dtype)
    again = DiffSDA.from_pretrained(tmp_path)
    assert again.config == model.config and not again.training
    assert {v.dtype for v in again.parameters()} == {torch.float32}
    params = dict(model.named_parameters())
    for name, v in model.state_dict().items():
        expected = v.to(dtype).float() if name in params else v
        assert torch.equal(again.state_dict()[name], expected), name


def test_one_evaluation_at_temperature_zero_is_a_mean(model, clips):
    "From noise 0 the sampler is deterministic, and one step is the denoiser's estimate at sigma_max."
    factors, seeded = model.encode(clips), torch.Generator().manual_seed
    one, two = (model.decode(factors, n_steps=1, temperature=0, generator=seeded(k)) for k in (0, 1))
    assert torch.equal(one, two)
    with evaluating(model): mean = model.denoise_with(factors)(torch.zeros(2, 3, 3, 32, 32), torch.tensor(80.))
    assert torch.allclose(one, model.codec.decode(mean), atol=1e-6)

def test_temperature_scales_fresh_noise(model, clips):
    factors = model.encode(clips)
    seeded = lambda: torch.Generator().manual_seed(5)
    half = model.decode(factors, n_steps=4, temperature=.5, generator=seeded())
    by_hand = model.decode(factors, x_T=.5 * 80 * torch.randn(2, 3, 3, 32, 32, generator=seeded()), n_steps=4)
    assert torch.allclose(half, by_hand, atol=1e-6)


def test_table_cells():
    cells = (' 3 × 64 × 64 ', '[2]', 'None', '-1.2', '1e-4', 'no', 'MLP')
    assert [parse_cell(c) for c in cells] == [(3, 64, 64), (2,), (), -1.2, 1e-4, False, 'mlp']

def test_tables_of_the_paper():
    "A few values of every column, typed from the page."
    some = 'P_mean nfe epochs s_dim d_dim hidden enc_base n_frames'.split()
    assert {k: tuple(getattr(row, name) for name in some) for k, row in TABLE4.items()} == {
        'mug': (-1.2, 71, 1600, 256, 64, 128, 64, 15), 'taichi_hd': (-1.2, 63, 40, 512, 64, 1024, 64, 10),
        'voxceleb': (-0.4, 63, 100, 512, 12, 1024, 192, 10), 'celebv_hq': (-0.4, 63, 450, 1024, 16, 1024, 192, 10),
        'timit': (-0.4, 63, 750, 32, 4, 128, 128, 68)}
    assert TABLE5 == {'mug': 1216, 'taichi_hd': 5008, 'voxceleb': 2528, 'celebv_hq': 4736}
    assert all(r.weight_decay == 1e-5 and r.lr == 1e-4 for r in TABLE4.values())

def test_presets_are_models_with_a_budget():
    ours = PRESETS.keys() - {'under_fire'} # of tests/under_fire.py, where it was imported before
    assert len(ours) == 16 and all(PRESETS[name].model == from_table4(row).model for name, row in TABLE4.items())
    assert all(p.train.get('minutes') or p.train.get('steps') or p.train['epochs'] for p in PRESETS.values())
    assert PRESETS['taichi_hd'].train['epochs'] == 40 * 150

def test_networks_of_vectors():
    with torch.device('meta'): backbone, trunk = build_networks(replace(PRESETS['timit'].model))
    assert sum(p.numel() for p in trunk.parameters()) < sum(p.numel() for p in backbone.parameters())


class Bomb:
    def __reduce__(self): return (Path.touch, (Path('exploded'),))

def test_files_that_are_no_checkpoints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(Bomb(), 'bomb.pt')
    torch.save({'step': 3}, 'other.pt')
    Path('cut.pt').write_bytes(Path('other.pt').read_bytes()[:200])
    for name, words in (('bomb.pt', 'can be read safely'), ('cut.pt', 'can be read safely'),
                        ('other.pt', 'not a checkpoint of this trainer'), ('none.pt', 'there is no such checkpoint')):
        assert words in refusal(lambda: load_checkpoint(name)) and name in refusal(lambda: load_checkpoint(name))
    assert not Path('exploded').exists()

@pytest.mark.parametrize('given, words', [
    ({}, 'neither steps nor minutes'), (dict(steps=3, n_frames=1), 'n_frames: 1; expected at least 2'),
    (dict(steps=3, batch_size=1), 'batch_size: 1; expected at least 2'), (dict(steps=3, precision='int8'), "'int8'")])
def test_ways_of_training_that_are_refused(given, words): assert words in refusal(lambda: TrainConfig(**given))

def test_a_resumed_curve_drops_what_came_after_the_checkpoint(tmp_path):
    curve = CSVTracker(tmp_path / 'metrics.csv')
    for step in (2, 4, 6): curve.log(dict(loss=1 / step), step=step)
    again = CSVTracker(tmp_path / 'metrics.csv')
    again.rewind(4)
    again.log(dict(loss=.5, lr=1e-3), step=5)
    rows = (tmp_path / 'metrics.csv').read_text().splitlines()
    assert rows == ['step,loss,lr', '2,0.5,', '4,0.25,', '5,0.5,0.001']
