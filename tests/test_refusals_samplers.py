"""The denoiser and the samplers: what they refuse, what churn does, and numbers of the text that presets decide."""
import json, re
from pathlib import Path
import pytest, torch
from diffsda.edm import Denoiser
from diffsda.factors import refusal
from diffsda.presets import PRESETS
from diffsda.samplers import heun_step, in_double, invert, raise_noise, sample, sigma_schedule
from diffsda.sde import mixture_denoiser

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
    assert refusal(lambda: sigma_schedule(0)) == 'n_steps: 0; expected at least 1; the paper takes 32'
    assert refusal(lambda: sample(bimodal, x_T, -1)).startswith('n_steps: -1; expected at least 1')
    assert refusal(lambda: invert(bimodal, x_T, 1)).startswith('n_steps: 1; expected at least 2')


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
