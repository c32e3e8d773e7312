"""The reference checkpoints do what checkpoints/README.md says of them."""
import json, math, re, shutil
from pathlib import Path
import pytest, torch
from safetensors.torch import load_file, save_file
from diffsda.factors import BadInput
from diffsda.judge import Judge, judge_accuracy
from diffsda.metrics import mse, swap_error
from diffsda.model import DiffSDA
from diffsda.prior import Prior
from diffsda.reader import Reader
from diffsda.sprites import Sprites
from diffsda.toys import CartoonFaces
from diffsda.vowels import Vowels

checkpoints = Path(__file__).resolve().parent.parent / 'checkpoints'
folders = sorted(p for p in checkpoints.iterdir() if (p / 'run.json').exists()) # of DiffSDA; the others have none
limits = {'cartoon64': 0.15, 'cartoon_other': 0.3, 'sprites': 0.3} # of a swap, as a fraction of the better copy

def read(*path): return json.loads(checkpoints.joinpath(*path).read_text())
def of_a_copy(found, name='swap_mse'): return found[name] / min(found['copy_static_mse'], found['copy_dynamic_mse'])

@pytest.fixture(scope='module')
def faces():
    pairs = CartoonFaces('test', n_clips=16).pairs(4, n_frames=4, seed=7)
    return DiffSDA.from_pretrained(checkpoints / 'cartoon64'), pairs

@pytest.mark.parametrize('folder', folders, ids=lambda p: p.name)
def test_small_and_measured(folder):
    assert (folder / 'model.safetensors').stat().st_size < 12e6
    found = read(folder, 'metrics.json')
    if 'static_eer' in found:
        assert found['pairs'] > 5000 and found['static_eer'] + 0.15 < found['dynamic_eer'] <= 0.55
    else: assert found['pairs'] >= 64 and of_a_copy(found) <= limits.get(folder.name, 0.5)
    assert found['n_params'] == sum(p.numel() for p in DiffSDA.from_pretrained(folder).parameters())

@pytest.mark.parametrize('folder', folders, ids=lambda p: p.name)
def test_float16_in_the_repository(folder):
    "Weights in half precision, the statistics of `Standardise` in full; float32 in the model."
    model, weights = DiffSDA.from_pretrained(folder), load_file(folder / 'model.safetensors')
    for name, p in model.named_parameters(): assert weights[name].dtype == torch.float16 and p.dtype == torch.float32
    for name, v in model.named_buffers():
        if name in weights and v.is_floating_point(): assert weights[name].dtype == torch.float32

@pytest.mark.parametrize('name', limits)
def test_the_numbers_of_the_readme(name):
    "Swap, reconstruction, swap at temperature 1, inversion: as in metrics.json."
    found = read(name, 'metrics.json')
    row = re.search(rf'^\| `{name}` \(temperature ([\d.]+)\) \| ([\d,]+) \| (.+) \| (.+) \| (.+) \| (\d+) dB \|$',
                    (checkpoints / 'README.md').read_text(), re.M).groups()
    errors = [f'{of_a_copy(found, k):.3f}' for k in ('swap_mse', 'reconstruction_mse', 'swap_mse_at_temperature_1')]
    assert list(row) == [f'{found["temperature"]:g}', f'{found["steps"]:,}', *errors, f'{found["inversion_psnr"]:.0f}']

def test_the_prior_belongs_to_its_model():
    prior, found = Prior.from_pretrained(checkpoints / 'cartoon64_prior'), read('cartoon64_prior', 'metrics.json')
    model = DiffSDA.from_pretrained(checkpoints / 'cartoon64')
    generated = model.generate(prior, 2, n_steps=4, generator=torch.Generator().manual_seed(0))
    assert prior.config.encoder == found['encoder'] and generated.shape == (2, 8, 3, 64, 64)
    assert 0.8 < found['nearest_drawn'] / found['nearest_held_out'] < 1.25
    assert abs(found['spread_drawn'] / found['spread_held_out'] - 1) < 0.1
    other = DiffSDA.from_pretrained(checkpoints / 'sprites')
    with pytest.raises(BadInput, match='another model'): other.generate(prior, 1)

def test_swap_is_near_the_truth(faces):
    model, pairs = faces
    found = swap_error(model, pairs, n_steps=12).metrics
    assert found['swap_mse'] < 0.25 * found['copy_static_mse'] < found['copy_dynamic_mse']

def test_inversion_comes_back(faces):
    model, pairs = faces
    clip = pairs.static[:1]
    psnr = -10 * torch.log10(mse(model.reconstruct(clip, n_steps=32), clip)).item()
    assert psnr >= 35

def test_the_factors_of_a_right_answer(faces):
    "Encode the rendered answer of a swap: its s is that of the static clip, its d that of the dynamic one."
    model, pairs = faces
    a, b, t = map(model.encode, pairs)
    assert ((t.s - a.s).square().mean(1) < 0.05 * (t.s - b.s).square().mean(1)).all()
    assert (t.d - b.d).square().mean() < 0.2 * (t.d - a.d).square().mean()

def test_the_first_stage_and_the_reader():
    "Both load, and the first stage is the one that metrics.json speaks of."
    from diffsda.files import fingerprint
    from diffsda.first_stage import open_stage
    folder = checkpoints / 'cartoon_vq'
    found, stage = read('cartoon_vq', 'metrics.json'), open_stage(folder)
    assert found['fingerprint'] == fingerprint(stage) and found['codes_in_use'] > 200
    faces = CartoonFaces('test', 8, size=128).frames[:, ::8]
    assert (stage.decode(stage.encode(faces)) - faces / 255).square().mean() < 2 * found['mse']
    assert Reader.from_pretrained(checkpoints / 'cartoon_reader').config.size == 64

judges = {'sprites_judge': dict(action=.995, body=.995, bottomwear=.995, topwear=.995, hair=.995),
          'cartoon_judge': dict(expression=.82, hair=.98)} # least accuracy on test clips, and on rendered swaps

@pytest.mark.parametrize('name', judges)
def test_a_judge_and_its_numbers(name):
    "Small, the one that metrics.json speaks of, as good as was asked."
    from diffsda.files import fingerprint
    found, judge = read(name, 'metrics.json'), Judge.from_pretrained(checkpoints / name)
    assert (checkpoints / name / 'model.safetensors').stat().st_size < 3e6
    assert found['fingerprint'] == fingerprint(judge)
    assert found['n_params'] == sum(p.numel() for p in judge.parameters()) and found['command'].startswith('papermill')
    for head, least in judges[name].items():
        row = found['accuracy'][head]
        assert min(row['clips'], row['swaps']) >= least and row['chance'] < 1.3 / row['classes'] + .05
        assert list(found['accuracy']) == list(judge.classes) and row['classes'] == len(judge.classes[head])
    for row in found['scores'].values(): assert abs(row['IS'] - math.exp(row['H(y)'] - row['H(y|x)'])) < 1e-6

def test_the_judge_of_faces_measured_again():
    "On other people than those of metrics.json."
    judge, faces = Judge.from_pretrained(checkpoints / 'cartoon_judge'), CartoonFaces('test', 60, seed=1)
    found = judge_accuracy(judge, faces, 24, swaps=60)
    assert found['hair']['clips'] > .9 and found['expression']['clips'] > found['expression']['high'] + .4
    assert found['hair']['swaps'] > .9 and found['expression']['swaps'] > found['expression']['high'] + .4
    assert 'asked about vowels' in str(pytest.raises(BadInput, judge.truth, Vowels('test', 8)).value)

def test_the_judge_of_sprites_measured_again():
    sheets = checkpoints.parents[1] / 'shared/data/sprites'
    if not sheets.is_dir(): pytest.skip('the sheets of Sprites are not here')
    judge, data = Judge.from_pretrained(checkpoints / 'sprites_judge'), Sprites(sheets, 'test', 'action')
    data.characters = data.characters[:20]
    data.labels = {k: v[:180] for k, v in data.labels.items()}
    found = judge_accuracy(judge, data, 8, swaps=60)
    assert len(data) == 180 and all(row['clips'] > .98 and row['swaps'] > .95 for row in found.values())

kinds = {'cartoon64': DiffSDA, 'cartoon64_prior': Prior, 'cartoon_reader': Reader, 'cartoon_judge': Judge}
@pytest.fixture(params=kinds)
def copied(request, tmp_path):
    "A checkpoint that may be damaged, and what a refusal of it must say."
    for name in ('config.json', 'model.safetensors'): shutil.copy(checkpoints / request.param / name, tmp_path)
    def refused(*words):
        with pytest.raises(BadInput) as e: kinds[request.param].from_pretrained(tmp_path)
        assert all(w in str(e.value) for w in words), e.value
    return tmp_path, refused

def test_weights_that_do_not_fit_are_refused(copied):
    "Missing, too many, of another shape or not finite: each by its name."
    folder, refused = copied
    good = load_file(folder / 'model.safetensors')
    one = next(k for k, v in good.items() if v.ndim == 2)
    for odd, words in (({k: v for k, v in good.items() if k != one}, ['1 missing', one]),
                       (good | {'more': torch.ones(2)}, ['1 too much', 'more']),
                       (good | {one: good[one][:-1]}, ['1 of another shape', one]),
                       (good | {one: good[one] * float('nan')}, ['not finite', one])):
        save_file(odd, folder / 'model.safetensors')
        refused('model.safetensors', *words)

def test_settings_that_no_model_has_are_refused(copied):
    folder, refused = copied
    config = json.loads((folder / 'config.json').read_text())
    number = next(k for k, v in config.items() if type(v) is int)
    for odd, words in (([], ['no settings by name']), (config | {'odd': 1}, ['unknown setting odd']),
                       (config | {number: 0}, [f'{number}=0', 'above 0']), (config | {number: 'x'}, [f"{number}='x'"]),
                       (config | {number: float('nan')}, [number])):
        (folder / 'config.json').write_text(json.dumps(odd))
        refused(str(folder), *words)

def test_bfloat16_gives_the_same_gradient():
    "What `precision='auto'` may choose: the direction of the whole gradient, and its length."
    model = DiffSDA.from_pretrained(checkpoints / 'cartoon64').train()
    torch.manual_seed(0)
    batch, found = model.prepare_batch(CartoonFaces('train', n_clips=8).pairs(4, n_frames=2, seed=0).static), []
    for bf16 in (False, True):
        model.zero_grad()
        with torch.autocast('cpu', torch.bfloat16, enabled=bf16): model(*batch).mean().backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.cosine_similarity(*found, dim=0) > .99 and abs(found[1].norm() / found[0].norm() - 1) < .03
