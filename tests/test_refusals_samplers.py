"""The denoiser and the samplers: what they refuse, what churn does, and numbers of the text that presets decide."""
import json, re
from pathlib import Path
import numpy as np
import pytest, torch
from diffsda.edm import Denoiser, NoiseDistribution, precond
from diffsda.factors import refusal
from diffsda.presets import PRESETS
from diffsda.samplers import heun_step, in_double, invert, raise_noise, sample, sigma_schedule
from diffsda.sde import diffuse, gaussian_denoiser, mixture_denoiser, reverse_step

nbs = Path(__file__).resolve().parent.parent / 'nbs'
bimodal = mixture_denoiser([-.24 ** .5, .24 ** .5], .1)
x_T = 80 * torch.randn(99, generator=torch.Generator().manual_seed(0))

def text(name):
    cells = json.loads((nbs/f'{name}.ipynb').read_text())['cells']
    return '\n'.join(''.join(cell['source']) for cell in cells)

def churned(seed, **options):
    return sample(bimodal, x_T, 8, s_churn=8, generator=torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize('x, sigma, z', [((2, 3, 5), (2,), (2, 3, 4)), ((2, 3, 5), (3, 2), (2, 3, 4)),
                                         ((2, 2, 5), (2, 3), (2, 3, 4)), ((3, 3, 5), (3, 3), (2, 3, 4))])
def test_denoiser_refuses_other_clips_and_frames(x, sigma, z):
    denoiser = Denoiser(lambda x, c_noise, z: x)
    said = refusal(lambda: denoiser(torch.zeros(x), torch.ones(sigma), torch.zeros(z)))
    assert said.startswith('Denoiser: ') and all(str(shape) in said for shape in (x, sigma, z))
    assert 'the same clips and frames (b, t)' in said and 'give every frame its sigma and its z' in said

def test_denoiser_refuses_an_unknown_scaling():
    said = refusal(lambda: Denoiser(torch.nn.Identity(), input_scaling='quiet'))
    assert said == "input_scaling: 'quiet'; expected 'unit' or 'wiener'"

def test_too_few_steps_are_refused():
    assert refusal(lambda: sigma_schedule(0)) == 'n_steps: 0; expected a whole number above 0; the paper takes 32'
    assert refusal(lambda: sample(bimodal, x_T, -1)).startswith('n_steps: -1; expected a whole number above 0')
    assert refusal(lambda: invert(bimodal, x_T, 1)).startswith('n_steps: 1; expected at least 2')

nan, inf = float('nan'), float('inf')

@pytest.mark.parametrize('name, values', [
    ('n_steps', (0, -1, 2.5, True, '8', None, nan, inf, torch.tensor(0), np.int64(-3), [8])),
    ('sigma_min', (0, 0., -1., nan, inf, '.1', None, True, 80., 90., 1e-50, 1e-12)),
    ('sigma_max', (0, -80., nan, inf, 'x', 1e30)), ('rho', (0, -7., nan, inf, '7', 1e-4))])
def test_numbers_that_make_no_schedule(name, values):
    "Each was NaN, a wrong picture, or a traceback."
    for v in values:
        for act in (lambda: sigma_schedule(**{name: v}), lambda: sample(bimodal, x_T, **{name: v}),
                    lambda: invert(bimodal, x_T, **{name: v})):
            said = refusal(act)
            assert said.startswith((f'{name}: ', 'sigma_min: ')), said # or the two levels together

def test_numbers_of_other_types_make_the_same_schedule():
    plain = sigma_schedule(8, .01, 50., 3.)
    for n in (8., np.int64(8), np.float32(8), torch.tensor(8)):
        assert torch.equal(sigma_schedule(n, torch.tensor(.01, dtype=torch.float64), np.float64(50), 3), plain)
    steep, flat = sigma_schedule(8, rho=1e6)[:-1], sigma_schedule(8, rho=1.)[:-1]
    assert (steep[1:] / steep[:-1]).std() < 1e-4 and flat.diff().std() < 1e-10 # geometric, and even

@pytest.mark.parametrize('option, values', [
    ('s_churn', (-1, nan, inf, '1', None)), ('s_noise', (-1, nan, inf, 'a')), ('s_tmin', (nan, -1, 'a', inf)),
    ('s_tmax', (nan, -1, 'a')), ('generator', (0, 7, np.random.default_rng(0))), ('progress', (True, 5, 'bar'))])
def test_options_of_the_churn_that_cannot_be(option, values):
    for v in values:
        assert refusal(lambda: sample(bimodal, x_T, 4, **(dict(s_churn=8.) | {option: v}))).startswith(option)

def test_a_window_upside_down():
    said = refusal(lambda: sample(bimodal, x_T, 4, s_churn=8, s_tmin=5, s_tmax=1))
    assert said.startswith('s_tmin: 5, above s_tmax=1')

@pytest.mark.parametrize('x', [x_T * nan, x_T / 0, x_T.long(), x_T.numpy(), [1., 2.], None],
                         ids=['nan', 'inf', 'int', 'numpy', 'list', 'none'])
def test_a_sampler_starts_from_floats(x):
    assert refusal(lambda: sample(bimodal, x, 4)).startswith('x_T: ')
    assert refusal(lambda: invert(bimodal, x, 4)).startswith('x: ')

def test_a_denoiser_that_gives_nan_is_not_a_picture():
    broken = lambda x, sigma: x * (nan if sigma < 1 else 0)
    assert 'the result of the sampler' in refusal(lambda: sample(broken, x_T, 4))
    assert 'the result of the inversion' in refusal(lambda: invert(broken, x_T / 80, 4))

@pytest.mark.parametrize('act, words', [
    (lambda: heun_step(bimodal, x_T, 0, 0), ['sigma: 0', 'sigma_min']),
    (lambda: raise_noise(x_T, 3., 2.), ['sigma_hat: 2.0', '3.0 or more']),
    (lambda: raise_noise(x_T, 3., nan), ['sigma_hat: nan']),
    (lambda: reverse_step(bimodal, x_T, 1., 2., x_T), ['sigma_next: 2.0']),
    (lambda: reverse_step(bimodal, x_T, 1., -1., x_T), ['sigma_next: -1.0']),
    (lambda: gaussian_denoiser(std=-1), ['std: -1']), (lambda: gaussian_denoiser(std=nan), ['std: nan']),
    (lambda: mixture_denoiser([0.], 0), ['std: 0']),
    (lambda: NoiseDistribution(nan, 1.), ['P_mean: nan']), (lambda: NoiseDistribution(0., 0.), ['P_std: 0.0']),
    (lambda: NoiseDistribution(0., -1.), ['P_std: -1.0']), (lambda: NoiseDistribution().sample(3, 0), ['generator: 0']),
    (lambda: Denoiser(torch.nn.Identity(), sigma_data=0), ['sigma_data: 0'])])
def test_levels_of_noise_that_cannot_be(act, words):
    said = refusal(act)
    assert all(w in said for w in words), said

@pytest.mark.parametrize('sigma, noise', [
    ((3,), (2, 3, 5)), ((2, 1), (2, 3, 5)), ((2, 3), (1, 3, 5)), ((2, 3), (2, 3, 1)), ((3, 2), (2, 3, 5))])
def test_noise_is_not_broadcast(sigma, noise):
    "One noise for all clips, or a level meant for another dimension."
    x = torch.zeros(2, 3, 5)
    assert 'diffuse: x is (2, 3, 5)' in refusal(lambda: diffuse(x, torch.ones(sigma), torch.randn(noise)))
    assert torch.equal(diffuse(x, torch.ones(2), torch.ones(2, 3, 5)), torch.ones(2, 3, 5))

def test_a_level_may_be_a_number():
    assert torch.equal(torch.stack(precond(.5)), torch.stack(precond(torch.tensor(.5))))
    network = Denoiser(lambda x, c_noise, z: x)
    x, z = torch.ones(2, 3, 5), torch.zeros(2, 3, 1)
    assert torch.equal(network(x, .5, z), network(x, torch.full((2, 3), .5), z))


def test_the_network_gets_its_own_precision():
    def network(x, sigma):
        assert x.dtype == torch.bfloat16 and sigma.dtype == torch.float32 and sigma.shape == ()
        return x
    answer = in_double(network, torch.bfloat16)(torch.ones(2, dtype=torch.float64), .002)
    assert answer.dtype == torch.float64
    assert sample(network, x_T.bfloat16(), 4).dtype == invert(network, x_T.bfloat16(), 4).dtype == torch.bfloat16

def test_schedule_spaces_its_root_evenly():
    sigmas = sigma_schedule()
    assert len(sigmas) == 33 and sigmas.dtype == torch.float64 and sigmas[-1] == 0 and (sigmas.diff() < 0).all()
    assert abs(sigmas[0] - 80) < 1e-9 and abs(sigmas[31] - .002) < 1e-12
    assert (sigmas[:32] ** (1 / 7)).diff().std() < 1e-12

def test_churn_is_reproducible_and_keeps_to_its_window():
    assert torch.equal(churned(1), churned(1)) and not torch.equal(churned(1), churned(2))
    plain = sample(bimodal, x_T, 8)
    assert torch.equal(churned(1, s_tmin=81.), plain) and torch.equal(churned(1, s_tmax=.001), plain)

def test_churn_adds_what_is_missing():
    zeros = torch.zeros(200_000, dtype=torch.float64)
    assert abs(raise_noise(zeros, 3., 5., generator=torch.Generator().manual_seed(0)).std() - 4) < .02
    assert torch.equal(raise_noise(zeros, 3., 5., s_noise=0.), zeros)

def test_progress_wraps_the_steps():
    seen = []
    def bar(steps):
        for step in steps:
            yield step
            seen.append(step)
    assert torch.equal(churned(1, progress=bar), churned(1))
    levels = sigma_schedule(8).tolist()
    assert seen == list(zip(levels, levels[1:]))

def test_last_step_up_hardly_matters():
    "Alg. 2 as printed ends with an Euler step to sigma_max; ours corrects it."
    x = torch.linspace(-.8, .8, 41, dtype=torch.float64)
    levels = sigma_schedule(32)[:-1].flip(0).tolist()
    up = x
    for here, there in zip(levels[:-2], levels[1:-1]): up = heun_step(bimodal, up, here, there)
    printed = up + (levels[-1] - levels[-2]) * (up - bimodal(up, levels[-2])) / levels[-2]
    assert (invert(bimodal, x, 32) - printed).abs().max() < 1e-3 # of numbers up to 80 and more

def test_temperature_zero_is_one_sample_and_not_the_mean():
    lopsided, zero = mixture_denoiser([-.4, .6], .1, [.6, .4]), torch.zeros(1)
    assert abs(sample(lopsided, zero, 1)) < 1e-4 and sample(lopsided, zero, 64) < -.25


# numbers that the text of the maths repeats from presets, which it cannot import

def test_noise_distributions_in_the_text_are_those_of_the_presets():
    rows = re.findall(r'^\| (-?[\d.]+) \| ([\d.]+) \|(.*)\|$', text('11_edm'), re.M)
    said = {name: (float(mean), float(std)) for mean, std, names in rows for name in re.findall(r'`(\w+)`', names)}
    used = {name: (preset.model.P_mean, preset.model.P_std) for name, preset in PRESETS.items()}
    assert {'mug', 'timit', 'cartoon', 'cartoon64', 'librispeech'} <= set(said)
    assert said == {name: used[name] for name in said}
    assert set(used.values()) <= set(said.values()), 'the table of 11_edm lacks a setting'

def test_noise_distributions_drawn_are_in_use():
    drawn = re.findall(r"'(paper|ours), [^']*': NoiseDistribution\((-?[\d.]+), ([\d.]+)\)", text('11_edm'))
    used = {(preset.source == 'Table 4', preset.model.P_mean, preset.model.P_std) for preset in PRESETS.values()}
    assert len(drawn) == 4 and {(whose == 'paper', float(mean), float(std)) for whose, mean, std in drawn} <= used

def test_temperatures_and_input_scaling_in_the_text_are_those_of_the_presets():
    ours = [preset.model for preset in PRESETS.values() if preset.source != 'Table 4']
    paper = [preset.model for preset in PRESETS.values() if preset.source == 'Table 4']
    said = re.search(r'\[Presets\]\(40_presets.ipynb\) also use (0\.\d+) and (0\.\d+)', text('12_samplers'))
    assert {float(t) for t in said.groups()} == {m.temperature for m in ours} - {1.}
    assert {m.temperature for m in paper} == {1.}
    assert "The paper's presets keep `'unit'`, ours take `'wiener'`" in text('11_edm')
    assert {m.input_scaling for m in ours} == {'wiener'} and {m.input_scaling for m in paper} == {'unit'}

def test_evaluations_in_the_text_are_those_of_table_4():
    nfe = {name: 2 * PRESETS[name].model.n_steps - 1 for name in ('mug', 'voxceleb')}
    assert nfe == {'mug': 71, 'voxceleb': 63} and 'NFE 63 and 71' in text('12_samplers')
