"""Runs as a user starts them: from a terminal, through papermill, stopped, in two processes, refused."""
import json, os, re, signal, subprocess, sys, time
from pathlib import Path
import numpy as np
import pytest, torch
from PIL import Image
from diffsda.experiment import progress_picture, rows_by_colour
from diffsda.factors import BadInput
from diffsda.programs import train as main
from diffsda.training import Clock, load_checkpoint, read_curve
from fixtures import make_sprite_sheets
from fixtures_notebooks import run_cells

root = Path(__file__).resolve().parent.parent
tiny = dict(dataset='cartoon', n_clips=24, pairs=2, batch_size=2, n_frames=3, precision='no')

def environment():
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    return {**os.environ, 'PATH': path, 'OMP_NUM_THREADS': '1', 'ACCELERATE_USE_CPU': 'true'}
def options(values): return [o for k, v in values.items() for o in ([f'--{k}'] if v is True else [f'--{k}', str(v)])]
def start(*command):
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
def finish(process): return process.communicate(timeout=300)[0], process.returncode
def train(run, **values): return start('diffsda-train', *options({**tiny, 'run': run, **values}))
def terminal_refusal(run, **values):
    "The sentence with which `diffsda-train` ends; an exit with a sentence is exit code 1."
    with pytest.raises(SystemExit) as end: main(options({**tiny, 'run': run, **values}))
    assert isinstance(end.value.code, str) and end.value.code.startswith('diffsda-train: ')
    return end.value.code
def papermill(tmp_path, **values):
    parameters = [o for k, v in {**tiny, 'run': tmp_path / 'run', **values}.items() for o in ('-p', k, str(v))]
    notebook = str(root / 'nbs/train.ipynb')
    return finish(start('papermill', notebook, str(tmp_path / 'train.ipynb'), '--no-progress-bar', *parameters))


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
    "A run of twelve steps without any interruption."
    run = tmp_path_factory.mktemp('straight') / 'run'
    said, code = finish(train(run, steps=12, checkpoint_every=2))
    assert code == 0, said
    return run

def test_what_a_run_leaves(straight):
    left = {str(p.relative_to(straight)) for p in straight.rglob('*') if p.is_file()}
    assert {'config.json', 'model.safetensors', 'metrics.csv', 'metrics.json', 'run.json', 'checkpoint.pt'} <= left
    assert {'swap.png', 'reconstruction.png'} <= left
    assert any(name.startswith('tensorboard/') for name in left)
    found = json.loads((straight / 'metrics.json').read_text())
    assert (found['dataset'], found['steps'], found['seed'], found['pairs']) == ('cartoon', 12, 0, 2)
    assert found['n_params'] > 1e6
    for name in ('minutes', 'reconstruction_mse', 'swap_mse', 'copy_static_mse', 'copy_dynamic_mse'):
        assert 0 < found[name] < 1

@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_a_stopped_run_writes_a_checkpoint_first(how, tmp_path):
    run = tmp_path / 'run'
    process = train(run, steps=10000, checkpoint_every=2)
    while not (run / 'checkpoint.pt').exists() and process.poll() is None: time.sleep(0.05)
    process.send_signal(how)
    said, code = finish(process)
    assert code == 128 + how and f'stopped by {how.name} after step' in said and 'resume' in said
    assert f"after step {torch.load(run / 'checkpoint.pt', weights_only=True)['step']};" in said

def test_two_processes_train_as_one_with_twice_the_batch(tmp_path):
    "Two processes of two clips each, and one of four: the same batches, losses and weights, to rounding."
    script = tmp_path / 'two.py'
    script.write_text('''
import torch
from diffsda import experiment, programs
def show(e):
    rank, world = e.trainer.accelerator.process_index, e.trainer.accelerator.num_processes
    weights = torch.stack([p.detach().double().sum() for p in e.trainer.unwrapped_model.parameters()])
    mean = e.trainer.batches[0].float().mean().item()
    print(f"rank {rank} of {world}: {weights.sum().item():.12f} {mean:.6f}", flush=True)
    raise SystemExit
experiment.Experiment.train = lambda e: e.trainer.fit() and show(e)
programs.train()
''')
    torchrun = (sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2')
    run = tmp_path / 'run'
    given = {**tiny, 'n_clips': 8, 'run': run, 'steps': 6, 'checkpoint_every': 6, 'base': 8, 'hidden': 8, 'd_noise': 1.}
    said, code = finish(start(*torchrun, '--no-python', '--', sys.executable, str(script), *options(given)))
    ranks = sorted(re.findall(r'rank \d of \d: \S+ \S+', said))
    assert code == 0 and [r[:11] for r in ranks] == ['rank 0 of 2', 'rank 1 of 2'], said
    (weights0, batch0), (weights1, batch1) = (r.split(': ')[1].split() for r in ranks)
    assert weights0 == weights1 and batch0 == batch1
    assert json.loads((run / 'run.json').read_text())['made_with']['processes'] == 2
    alone = {**given, 'run': tmp_path / 'alone', 'batch_size': 2 * given['batch_size']}
    assert finish(start(sys.executable, str(script), *options(alone)))[1] == 0
    two, one = (load_checkpoint(folder / 'checkpoint.pt') for folder in (run, alone['run']))
    for name, ours in one['model'].items(): assert torch.allclose(ours, two['model'][name], atol=2e-5), name
    losses = [read_curve(folder / 'metrics.csv')[-1]['loss'] for folder in (run, alone['run'])]
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-4)
    said = terminal_refusal(**{**given, 'resume': True, 'steps': 8})
    assert 'started in 2 processes, not 1' in said and '--nproc_per_node 2 --no-python -- diffsda-train' in said


def test_train_notebook(tmp_path):
    "Words of a terminal: `-p P_mean 2` is an integer for papermill, `-p s_dim None` the preset's."
    said, code = papermill(tmp_path, steps=3, P_mean='2', s_dim='None', d_noise='0.5', lstm_skip='False')
    assert code == 0, said
    assert json.loads((tmp_path / 'run/metrics.json').read_text())['steps'] == 3
    assert (tmp_path / 'run/swap.png').exists()
    expected = dict(P_mean=2., s_dim=64, d_noise=.5, lstm_skip=False)
    config = json.loads((tmp_path / 'run/config.json').read_text())
    assert {name: config[name] for name in expected} == expected

def test_train_notebook_on_sprites(tmp_path):
    sheets = make_sprite_sheets(tmp_path / 'sheets')
    small = {**tiny, 'dataset': 'sprites', 'n_clips': 0}
    run_cells('train', **small, run=tmp_path / 'run', steps=3, data_dir=sheets, clips='action')
    assert json.loads((tmp_path / 'run/metrics.json').read_text())['dataset'] == 'sprites'

@pytest.mark.parametrize('wrong, words', [
    (dict(datset='mug'), ["parameter 'datset': it does not exist", 'did you mean dataset']),
    (dict(dataset='mug'), ['https://mug.ee.auth.gr/fed', 'data_prep', '-p dataset cartoon']),
    (dict(steps='many'), ["parameter steps: 'many'", 'expected int']),
], ids=['unknown name', 'missing dataset', 'wrong kind'])
def test_train_notebook_refuses(tmp_path, wrong, words):
    given = {**tiny, 'steps': 3, 'run': tmp_path / 'run', **wrong}
    with pytest.raises(BadInput) as refused: run_cells('train', **given)
    assert all(w in str(refused.value) for w in words)
    assert not (tmp_path / 'run').exists()

def test_papermill_says_why_it_failed(tmp_path):
    said, code = papermill(tmp_path, dataset='mug')
    assert code != 0 and 'https://mug.ee.auth.gr/fed' in said and not (tmp_path / 'run').exists()

@pytest.mark.parametrize('wrong, words', [
    (dict(dataset='catoon'), ['did you mean cartoon']),
    (dict(dataset='sprites', data_dir='nowhere'), ['nowhere', 'YingzhenLi/Sprites']),
    (dict(n_frames=99), ['99', '24']),
    (dict(batch_size=1), ['batch_size', 'at least 2']),
    (dict(n_frames=1), ['n_frames', 'at least 2']),
    (dict(preset='huge'), ["preset 'huge'", 'cartoon']),
    (dict(precision='int8'), ['int8', 'bf16']),
    (dict(resume=True), ['checkpoint']),
    (dict(minutes=-1), ['minutes', '0 or more']),
    (dict(preset='voxceleb'), ['(4, 32, 32)', 'choose another preset']),
    (dict(precision='fp16'), ['fp16', 'precision=no']),
    (dict(seed=2 ** 70), ['seed', '2**63']),
    (dict(clips='foo'), ["'foo'", "'action'"]),
    (dict(data_dir='nowhere'), ['nowhere', 'leave data_dir out']),
    (dict(dataset='vowels', data_dir='nowhere'), ['nowhere', 'leave data_dir out']),
    (dict(first_stage='nowhere'), ['nowhere', 'works on pixels']),
], ids=lambda v: next(iter(v)) if isinstance(v, dict) else '')
def test_terminal_refuses(tmp_path, wrong, words):
    said = terminal_refusal(tmp_path / 'run', **{**dict(steps=3), **wrong})
    assert all(w in said for w in words), said

@pytest.mark.parametrize('run', ['file', 'file/below'])
def test_a_run_that_cannot_be_written(run, tmp_path):
    (tmp_path / 'file').write_text('mine')
    assert 'cannot be written' in terminal_refusal(tmp_path / run, steps=3)
    assert (tmp_path / 'file').read_text() == 'mine'

def test_a_run_is_never_overwritten(straight):
    before = (straight / 'checkpoint.pt').read_bytes()
    said = terminal_refusal(straight, steps=3)
    assert 'already holds a run' in said and 'resume' in said
    assert (straight / 'checkpoint.pt').read_bytes() == before

def test_resume_refuses_another_model(straight):
    assert 'd_dim: 12 there, 5 here' in terminal_refusal(straight, steps=9, resume=True, d_dim=5)
    assert 'n_frames=3, not 5' in terminal_refusal(straight, steps=9, resume=True, n_frames=5)

def test_resume_refuses_what_is_not_a_checkpoint(tmp_path):
    run = tmp_path / 'run'; run.mkdir()
    (run / 'checkpoint.pt').write_bytes(b'PK\x03\x04 half a file')
    assert 'checkpoint.pt: not a checkpoint that can be read safely' in terminal_refusal(run, steps=3, resume=True)

def test_a_sentence_and_an_exit_code(tmp_path):
    said, code = finish(train(tmp_path / 'run', dataset='mug'))
    assert code == 1 and said.startswith('diffsda-train: dataset mug') and 'Traceback' not in said

def test_help():
    said, code = finish(start('diffsda-train', '--help'))
    assert code == 0 and '--dataset' in said and 'budget in minutes' in said and "[the preset's]" in said

def test_the_clock_counts_waiting_and_work():
    "Batches that take 0.05 s to come, work that takes 0.02 s with each."
    def slow():
        for k in range(4):
            time.sleep(.05)
            yield k
    clock = Clock(elapsed=100.)
    for k in clock.timed(slow()): time.sleep(.02)
    assert k == 3 and .2 <= clock.waited and clock.waited + .08 <= clock.since_log <= clock.elapsed - 100 + 1e-3
    clock.restart()
    assert clock.waited == 0 and clock.since_log < .05 and clock.elapsed >= 100.28

def test_the_same_swap_after_more_and_more_steps(tmp_path):
    "Rows are found by their coloured bars: of two pictures with known rows, the right ones are cut out."
    from diffsda.viz import swap_picture
    grey = lambda v: torch.full((2, 8, 3, 32, 32), v, dtype=torch.uint8)
    (tmp_path / 'samples').mkdir()
    for step, v in ((2, 60), (4, 120)):
        swap_picture(*map(grey, (20, v, v, 200)), n=2).save(tmp_path / f'samples/step_{step:06d}.png')
    for name, v in (('#2563eb', 20), ('#16a34a', 60), ('#9ca3af', 200)):
        row, = rows_by_colour(Image.open(tmp_path / 'samples/step_000002.png'), [name])
        inside = row[..., 2:60, 2:60]
        assert row.shape[-2] >= 60 and (inside[inside < 255] == v).all()
    picture = np.asarray(progress_picture(tmp_path, (2, 4)).convert('RGB'))
    assert {20, 60, 120, 200} <= set(np.unique(picture[:, -60]).tolist())
    with pytest.raises(BadInput, match='step_000003.png'): progress_picture(tmp_path, (2, 3))
