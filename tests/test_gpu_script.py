"""The script that trained the reference faces, on a CPU and for a moment: what it paints, what it trains, what it asks for."""
import importlib.util, subprocess, sys
from dataclasses import replace
from pathlib import Path
import pytest, torch
from diffsda import toys
from diffsda.model import DiffSDA

path = Path(__file__).resolve().parent.parent / 'checkpoints/train_cartoon64.py'

@pytest.fixture(scope='module')
def script():
    spec = importlib.util.spec_from_file_location('train_cartoon64', path)
    module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
    return module

def test_it_paints_what_the_dataset_draws(script):
    static, dynamic = toys.sample_static(12), toys.sample_dynamic(12, n_frames=8)[0]
    ours, theirs = script.paint(static, dynamic, chunk=16), toys.draw_clips(static, dynamic, 64)
    assert ours.device.type == script.DEVICE and (ours.cpu().int() - theirs.int()).abs().max() <= 1

def test_it_learns_and_averages(script):
    static, dynamic = toys.sample_static(6), toys.sample_dynamic(6)[0]
    config = replace(script.FINE, base=8, mults=(1, 2), patch=8, enc_base=8, enc_mults=(1, 2), enc_patch=8, hidden=16)
    run = script.Run('small', config, script.paint(static, dynamic), batch=4, ema=0.5)
    first = [p.clone() for p in run.params]
    run.train(4.)
    assert run.step > 20 and run.rows[-1]['step'] == run.step and run.rows[-1]['loss'] < 0.7 * run.rows[0]['loss']
    other = run.averaged()
    assert isinstance(other, DiffSDA) and not other.training and any((p - q).abs().max() > 1e-3 for p, q in zip(other.parameters(), first))
    assert max((p - q).abs().max() for p, q in zip(other.parameters(), run.params)) < 0.05 # near the weights it averages
    step = run.step
    assert run.train(0.5).step > step and run.spent > 4
    reconstruction, swap = script.judge(other, static, dynamic, n=4)
    assert 0 < reconstruction < 10 and 0 < swap < 10

def test_every_trial_is_a_model(script):
    assert len({DiffSDA(replace(script.FINE, **change)).config for change in script.TRIALS.values()}) == 4
    assert script.TRIALS['fine, d_dim 12, d_noise 0.4'] == {}

def test_help(): # in a process of its own
    said = subprocess.run([sys.executable, path, '--help'], capture_output=True, text=True)
    assert said.returncode == 0 and '--budget' in said.stdout and 'CUDA graph' in said.stdout
