"""The reference checkpoints do what the README says of them."""
import json, shutil
from pathlib import Path
import pytest, torch
from safetensors.torch import load_file, save_file
from diffsda.factors import BadInput
from diffsda.judge import Judge
from diffsda.metrics import mse, swap_error
from diffsda.model import DiffSDA
from diffsda.prior import Prior
from diffsda.toys import CartoonFaces

root = Path(__file__).resolve().parent.parent
folders = sorted(p for p in (root / 'checkpoints').iterdir() if (p / 'run.json').exists()) # of DiffSDA; the prior, the first stage and the judge have none

@pytest.fixture(scope='module')
def faces(): return DiffSDA.from_pretrained(root / 'checkpoints/cartoon64'), CartoonFaces('test', n_clips=16).pairs(4, n_frames=4, seed=7)

@pytest.mark.parametrize('folder', folders, ids=lambda p: p.name)
def test_small_and_measured(folder):
    assert (folder / 'model.safetensors').stat().st_size < 12e6
    found = json.loads((folder / 'metrics.json').read_text())
    if 'static_eer' in found: assert found['pairs'] > 5000 and found['static_eer'] + 0.15 < found['dynamic_eer'] <= 0.55
    else: assert found['pairs'] >= 64 and found['swap_mse'] <= {'cartoon64': 0.15, 'sprites': 0.3}.get(folder.name, 0.5) * min(found['copy_static_mse'], found['copy_dynamic_mse'])
    assert found['n_params'] == sum(p.numel() for p in DiffSDA.from_pretrained(folder).parameters())

def test_the_prior_belongs_to_its_model():
    prior, found = Prior.from_pretrained(root / 'checkpoints/cartoon64_prior'), json.loads((root / 'checkpoints/cartoon64_prior/metrics.json').read_text())
    model = DiffSDA.from_pretrained(root / 'checkpoints/cartoon64')
    assert prior.config.encoder == found['encoder'] and model.generate(prior, 2, n_steps=4, generator=torch.Generator().manual_seed(0)).shape == (2, 8, 3, 64, 64)
    assert 0.8 < found['nearest_drawn'] / found['nearest_held_out'] < 1.25 and abs(found['spread_drawn'] / found['spread_held_out'] - 1) < 0.1
    with pytest.raises(BadInput, match='another model'): DiffSDA.from_pretrained(root / 'checkpoints/sprites').generate(prior, 1)

def test_swap_is_near_the_truth(faces):
    model, pairs = faces
    found = swap_error(model, pairs, n_steps=12).metrics
    assert found['swap_mse'] < 0.25 * found['copy_static_mse'] < found['copy_dynamic_mse']

def test_inversion_comes_back(faces):
    model, pairs = faces
    clip = pairs.static[:1]
    psnr = -10 * torch.log10(mse(model.reconstruct(clip, n_steps=32), clip)).item()
    assert psnr >= 35

def test_factors_say_who_and_what(faces):
    "Encode the rendered answer of a swap: its static factor is that of the clip that says who, its dynamic ones those of the clip that says what."
    model, (who, what, truth) = faces
    a, b, t = (model.encode(c) for c in (who, what, truth))
    assert ((t.s - a.s).square().mean(1) < 0.05 * (t.s - b.s).square().mean(1)).all()
    assert (t.d - b.d).square().mean() < 0.2 * (t.d - a.d).square().mean()

def test_the_first_stage_and_the_judge():
    "Both load, and the first stage is the one that metrics.json speaks of."
    from diffsda.files import fingerprint
    from diffsda.first_stage import open_stage
    folder = root / 'checkpoints/cartoon_vq'
    found, stage = json.loads((folder / 'metrics.json').read_text()), open_stage(folder)
    assert found['fingerprint'] == fingerprint(stage) and found['codes_in_use'] > 200
    faces = CartoonFaces('test', 8, size=128).frames[:, ::8]
    assert (stage.decode(stage.encode(faces)) - faces / 255).square().mean() < 2 * found['mse']
    assert Judge.from_pretrained(root / 'checkpoints/cartoon_judge').config.size == 64

@pytest.mark.parametrize('kind, folder', [(DiffSDA, 'cartoon64'), (Prior, 'cartoon64_prior'), (Judge, 'cartoon_judge')], ids=lambda v: v if isinstance(v, str) else '')
def test_what_is_not_whole_is_refused(kind, folder, tmp_path):
    "Weights that are missing, too many, of another shape or no numbers; settings that no model has. Each by its name."
    for name in ('config.json', 'model.safetensors'): shutil.copy(root / 'checkpoints' / folder / name, tmp_path)
    def refused(*words):
        with pytest.raises(BadInput) as e: kind.from_pretrained(tmp_path)
        assert all(w in str(e.value) for w in words), e.value
    good, config = load_file(tmp_path / 'model.safetensors'), json.loads((tmp_path / 'config.json').read_text())
    one = next(k for k, v in good.items() if v.ndim == 2)
    for odd, words in (({k: v for k, v in good.items() if k != one}, ['1 missing', one]), (good | {'more': torch.ones(2)}, ['1 too much', 'more']),
                       (good | {one: good[one][:-1]}, ['1 of another shape', one]), (good | {one: good[one] * float('nan')}, ['not finite', one])):
        save_file(odd, tmp_path / 'model.safetensors'); refused('model.safetensors', *words)
    save_file(good, tmp_path / 'model.safetensors'); kind.from_pretrained(tmp_path)
    number = next(k for k, v in config.items() if type(v) is int)
    for odd, words in (([], ['no settings by name']), (config | {'odd': 1}, ['unknown setting odd']), (config | {number: 0}, [f'{number}=0', 'above 0']), (config | {number: 'x'}, [f"{number}='x'"]), (config | {number: float('nan')}, [number])):
        (tmp_path / 'config.json').write_text(json.dumps(odd)); refused(str(tmp_path), *words)
