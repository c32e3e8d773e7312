"""The script that trained the reference faces, on a CPU and for a moment: what it draws, trains and asks for."""
import importlib.util, json, subprocess, sys
from dataclasses import replace
from pathlib import Path
import pytest, torch
from safetensors.torch import load_file
from diffsda import toys
from diffsda.model import DiffSDA
from diffsda.presets import PRESETS, ModelConfig

path = Path(__file__).resolve().parent.parent / 'checkpoints/train_cartoon64.py'

@pytest.fixture(scope='module')
def script():
    spec = importlib.util.spec_from_file_location('train_cartoon64', path)
    module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
    module.DEVICE, module.GPU = 'cpu', False # also where there is one
    return module

def test_it_draws_what_the_dataset_draws(script):
    static, dynamic = toys.sample_static(12), toys.sample_dynamic(12, n_frames=8)[0]
    ours, theirs = script.draw(static, dynamic, chunk=16), toys.draw_clips(static, dynamic, 64)
    assert (ours.int() - theirs.int()).abs().max() <= 1

def test_it_learns_and_averages(script):
    static, dynamic = toys.sample_static(6), toys.sample_dynamic(6)[0]
    config = replace(script.FINE, base=8, mults=(1, 2), patch=8, enc_base=8, enc_mults=(1, 2), enc_patch=8, hidden=16)
    run = script.Run('small', config, script.draw(static, dynamic), batch=4, ema=0.5)
    first = [p.clone() for p in run.params]
    run.train(8.)
    mean = lambda rows: sum(r['loss'] for r in rows) / len(rows)
    assert len(run.rows) == run.step >= 10 and mean(run.rows[-5:]) < 0.8 * mean(run.rows[:5])
    other = run.averaged()
    assert isinstance(other, DiffSDA) and not other.training
    far = lambda params: max((p - q).abs().max() for p, q in zip(other.parameters(), params))
    assert far(first) > 1e-4 and far(run.params) < 0.05 # not as at first, and near the weights it averages
    step = run.step
    assert run.train(0.5).step > step and run.spent > 8

def test_every_trial_is_a_model(script):
    assert len({DiffSDA(replace(script.FINE, **change)).config for change in script.TRIALS.values()}) == 4
    assert script.TRIALS['fine, d_dim 12, d_noise 0.4'] == {} and (script.FINE.d_dim, script.FINE.d_noise) == (12, 0.4)

def test_the_checkpoint_is_of_the_preset():
    there = ModelConfig(**json.loads((path.parent / 'cartoon64/config.json').read_text()))
    assert replace(PRESETS['cartoon64_fine'].model, mean=there.mean, std=there.std) == there

def test_from_faces_to_numbers(script, tmp_path, monkeypatch, capsys):
    "The whole of it, for moments."
    small = dict(base=8, mults=(1, 2), patch=8, enc_base=8, enc_mults=(1, 2), enc_patch=8, hidden=16, n_steps=2)
    monkeypatch.setattr(script, 'TRIALS', {'one': small, 'two': dict(small, d_dim=4)})
    monkeypatch.setattr(script, 'BEGAN', script.time.monotonic())
    options = '--budget 12 --trial 1 --n_clips 12 --batch_size 4 --compared 4 --pairs 2'
    monkeypatch.setattr(sys, 'argv', f'train --out {tmp_path / "out"} {options}'.split())
    preset = script.PRESETS['cartoon64_fine']
    monkeypatch.setitem(script.PRESETS, 'cartoon64_fine', replace(preset, model=replace(preset.model, **small)))
    script.main()
    left = {p.name for p in (tmp_path / 'out').iterdir()}
    assert {'model.safetensors', 'config.json', 'metrics.json', 'metrics.csv', 'run.json', 'swap.png'} <= left
    weights = load_file(tmp_path / 'out/model.safetensors')
    assert weights['encoder.to_s.weight'].dtype == torch.float16 # small in a repository
    found, ran = (json.loads((tmp_path / 'out' / name).read_text()) for name in ('metrics.json', 'run.json'))
    model = DiffSDA.from_pretrained(tmp_path / 'out')
    assert found['pairs'] == 2 and found['steps'] > 0 and model.config.d_noise == 0.2
    assert ran['trial'] in ('one', 'two') and 'goes on' in capsys.readouterr().out

refused = [('--budget 9 --trial 3', '4 trials alone'), ('--out {tmp}', 'name another folder')]
@pytest.mark.parametrize('given, words', refused)
def test_refuses_before_it_begins(script, tmp_path, monkeypatch, given, words):
    (tmp_path / 'checkpoint.pt').touch()
    monkeypatch.setattr(sys, 'argv', ['train', *given.format(tmp=tmp_path).split()])
    with pytest.raises(SystemExit, match=words): script.main()

def test_help(): # in a process of its own
    said = subprocess.run([sys.executable, path, '--help'], capture_output=True, text=True)
    assert said.returncode == 0 and '--budget' in said.stdout and 'CUDA graph' in said.stdout
