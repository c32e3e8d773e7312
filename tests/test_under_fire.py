"""What happens to a run: killed, a full disk, a second run, other data, other processes, NaN, gradients that are 0."""
import json, os, re, subprocess, sys, warnings
from dataclasses import replace
from pathlib import Path
import numpy as np
import pytest, torch
from torch import nn
import under_fire
from diffsda import clips as prepared
from diffsda.experiment import Experiment
from diffsda.factors import refusal
from diffsda.files import locked
from diffsda.model import DiffSDA
from diffsda.programs import train as main, train_options
from diffsda.settings import read_settings
from diffsda.toys import CartoonFaces
from diffsda.training import CSVTracker, Trainer, TrainConfig, data_facts, load_checkpoint, what_changed
from diffsda.unet import doubling

root = Path(__file__).resolve().parent.parent
tiny = dict(dataset='cartoon', preset='under_fire', n_clips=8, pairs=2, steps=4, precision='no')
def experiment(run, **given): return Experiment(read_settings({**tiny, 'run': str(run), **given}), verbose=False)
def listing(folder): return {p: p.stat().st_mtime_ns for p in Path(folder).rglob('*')}
def weights(run): return load_checkpoint(run / 'checkpoint.pt')['model']
def torchrun_reads(command): # -> the program that torchrun would start, its arguments
    from torch.distributed.run import get_args_parser
    words = command.split()
    given = get_args_parser().parse_args(words[words.index('torchrun') + 1:])
    return given.training_script, given.training_script_args

@pytest.fixture(scope='module')
def run(tmp_path_factory):
    "A finished run of four steps. Tests copy it."
    folder = tmp_path_factory.mktemp('run') / 'run'
    experiment(folder).train()
    return folder

@pytest.fixture
def copy(run, tmp_path):
    subprocess.run(['cp', '-rp', run, tmp_path / 'copy'], check=True)
    return tmp_path / 'copy'


def test_killed_and_out_of_space():
    "python tests/under_fire.py --kills 100 --disks 20 is the long version."
    command = [sys.executable, root / 'tests/under_fire.py', '--kills', '3', '--chain', '3', '--disks', '1']
    env = {**os.environ, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and '0 not equal to a straight run' in done.stdout, done.stdout + done.stderr

@pytest.mark.long
def test_a_hundred_kills_and_twenty_full_disks():
    assert not subprocess.run([sys.executable, root / 'tests/under_fire.py']).returncode


def test_a_second_process_is_refused_and_changes_nothing(tmp_path):
    out = tmp_path / 'run'
    code = f'from diffsda.files import locked\nwith locked({str(out)!r}, "run"):\n print("held", flush=True)\n input()'
    with subprocess.Popen([sys.executable, '-c', code], stdin=-1, stdout=-1, text=True) as first:
        assert first.stdout.readline() == 'held\n'
        before = listing(out)
        for resume in (False, True):
            said = refusal(lambda: experiment(out, resume=resume))
            assert said.startswith(f'{out}: another run is at work there; wait for it') and listing(out) == before
        first.kill()
    experiment(out).trainer.release() # a killed process holds nothing

def test_the_folder_is_held_until_the_last_file(tmp_path):
    def free(): return 'at work' not in refusal_or_none(lambda: enter(tmp_path / 'run'))
    def enter(folder):
        with locked(folder, 'run'): pass
    def refusal_or_none(f):
        try: f()
        except ValueError as e: return str(e)
        return ''
    run, seen = experiment(tmp_path / 'run', steps=2), []
    for name in ('save', 'show_sample'):
        whole = getattr(run.trainer, name)
        setattr(run.trainer, name, lambda whole=whole: (seen.append(free()), whole()))
    pictures = run.write_pictures
    run.write_pictures = lambda *a: (seen.append(free()), pictures(*a))
    assert not free()
    run.train()
    assert free() and not any(seen)
    run.measure(verbose=False)
    assert free() and len(seen) >= 2 and not any(seen)

def test_in_one_kernel_the_newer_run_takes_the_folder(tmp_path):
    former, newer = (experiment(tmp_path / 'run') for _ in range(2))
    newer.train()
    before = weights(tmp_path / 'run')
    assert 'another run wrote there in between' in refusal(former.train)
    assert all(torch.equal(v, before[k]) for k, v in weights(tmp_path / 'run').items())
    assert 'it already holds a run' in refusal(lambda: experiment(tmp_path / 'run'))
    assert experiment(tmp_path / 'run', resume=True, steps=5).train().trainer.step == 5

def test_a_run_that_failed_gives_its_folder_back(copy):
    assert 'the data changed' in refusal(lambda: experiment(copy, resume=True, n_clips=9))
    with locked(copy, 'run'): pass
    e = experiment(copy, resume=True, steps=6)
    e.trainer.train_step = lambda clips: 1 / 0
    with pytest.raises(ZeroDivisionError): e.train()
    with locked(copy, 'run'): pass

def test_what_a_killed_run_was_writing_is_removed(copy):
    (copy / '.checkpoint.pt.4711').write_bytes(b'half'), (copy / '.model.abc').mkdir()
    (copy / '.hidden').write_text('mine')
    experiment(copy, resume=True, steps=5).trainer.release()
    assert not (copy / '.checkpoint.pt.4711').exists() and not (copy / '.model.abc').exists()
    assert (copy / '.hidden').read_text() == 'mine'


def test_a_run_knows_its_data(copy):
    found = json.loads((copy / 'run.json').read_text())
    assert found['data'] == {k: data_facts(CartoonFaces('train', 8, size=16))[k] for k in ('clips', 'digest')}
    assert found['made_with']['torch'] == torch.__version__ and found['made_with']['processes'] == 1
    said = refusal(lambda: experiment(copy, resume=True, n_clips=9, steps=6))
    assert 'the data changed since (8 clips then, 9 now; digest' in said and f'--start {copy} --run NEW' in said
    again = experiment(copy.parent / 'new', start=str(copy), n_clips=9, solver='dpmpp') # the mend that is named
    assert again.trainer.step == 0
    again.trainer.release()

def test_start_takes_the_weights_of_an_interrupted_run(copy):
    for name in ('model.safetensors', 'config.json'): (copy / name).unlink()
    new, state = experiment(copy.parent / 'new', start=str(copy), n_clips=9), load_checkpoint(copy / 'checkpoint.pt')
    assert all(torch.equal(v, state['ema'][k]) for k, v in new.model.state_dict().items())
    new.trainer.release()

def sound(folder, values, digest=True): # {name of a clip: (t, 4) array} -> a prepared dataset
    folder.mkdir(parents=True, exist_ok=True)
    shard, rows, at = prepared.ShardWriter(folder / 'shard_00000.npy', (4,), 'float32'), [], 0
    for name, frames in values.items():
        shard.add(frames)
        rows.append(dict(id=name, shard=0, start=at, length=len(frames), split='train', speaker=name))
        at += len(frames)
    shards = [dict(file='shard_00000.npy', frames=at, sha256=shard.close())]
    info = dict(name='noise', modality='sound', frame=[4], rate=100, source='', licence='')
    prepared.finish(folder, rows, shards, info, prepared.moments(np.concatenate(list(values.values()))))
    return prepared.Clips(folder)

def noise(n, seed=0): # clips
    rng = np.random.default_rng(seed)
    return {f'take {i}': rng.normal(size=(12, 4)).astype('float32') for i in range(n)}

def test_facts_of_data(tmp_path):
    "Own digest of prepared clips, tables and frames of the others; a last bit does not matter."
    one, grown = sound(tmp_path / '1', noise(6)), sound(tmp_path / '2', noise(7))
    assert data_facts(one)['digest'] == one.info['own'][:16] and data_facts(one)['clips'] == 6
    assert what_changed(data_facts(one), data_facts(one)) == ''
    assert '6 clips then, 7 now' in what_changed(data_facts(one), data_facts(grown))
    class InMemory:
        def __init__(self, frames): self.frames, self.labels = frames, dict(path=[id(self)] * len(frames))
        def __len__(self): return len(self.frames)
        def draw(self, rng, n, t): return self.frames[rng.integers(len(self.frames), size=n), :t]
    frames = torch.randn(20, 5, 8)
    assert what_changed(*map(data_facts, (InMemory(frames), InMemory(frames * (1 + 1e-6))))) == ''
    assert what_changed(*map(data_facts, (InMemory(frames), InMemory(frames + .1)))) == 'other frames in the same clips'

def test_another_number_of_processes(copy):
    state = torch.load(copy / 'checkpoint.pt', weights_only=True)
    assert state['processes'] == 1
    torch.save(state | dict(processes=2), copy / 'checkpoint.pt')
    said = refusal(lambda: experiment(copy, resume=True, steps=6))
    assert 'started in 2 processes, not 1, with 2 clips a step in each; resume in as many:' in said
    assert torchrun_reads(said + ' --run x --start y') == ('diffsda-train', ['...', '--run', 'x', '--start', 'y'])
    del state['processes'], state['data'] # of an earlier version
    torch.save(state, copy / 'checkpoint.pt')
    experiment(copy, resume=True, steps=6).trainer.release()

@pytest.mark.parametrize('environment, start', [
    ({}, ''),
    (dict(WORLD_SIZE='2', LOCAL_WORLD_SIZE='2', ACCELERATE_USE_CPU='true'),
     'ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 --no-python -- '),
    (dict(WORLD_SIZE='8', LOCAL_WORLD_SIZE='4'), 'torchrun --nnodes 2 --nproc_per_node 4 --no-python -- ')])
def test_the_hint_says_how_it_was_launched(environment, start, monkeypatch, run):
    for name in ('WORLD_SIZE', 'LOCAL_WORLD_SIZE', 'ACCELERATE_USE_CPU'): monkeypatch.delenv(name, raising=False)
    e = experiment(run, resume=True)
    e.trainer.release()
    for name, value in environment.items(): monkeypatch.setenv(name, value)
    command = e.command(8)
    assert command.startswith(start + 'diffsda-train --dataset cartoon') and command.endswith('--resume --steps 8')
    if start: assert torchrun_reads(command) == ('diffsda-train', command.split('diffsda-train ')[1].split())

def test_torchrun_leaves_our_options_alone():
    "`--run` and `--start` are beginnings of options of its own; behind `--` they are ours."
    line = next(line for line in train_options().epilog.splitlines() if 'torchrun' in line)
    program, options = torchrun_reads(re.split('  +', line.strip())[0])
    assert program == 'diffsda-train' and '--run' in options


@pytest.fixture
def full(tmp_path, monkeypatch):
    "From `full(name)` on, files of that name do not fit on the disk: /dev/full stands behind them."
    def fill(name):
        whole = os.replace
        def replace_file(a, b, **kw):
            if Path(b).name == name: raise OSError(28, 'No space left on device')
            return whole(a, b, **kw)
        monkeypatch.setattr(os, 'replace', replace_file)
    return fill

@pytest.mark.parametrize('name', ['checkpoint.pt', 'metrics.csv', 'run.json', 'model.safetensors', 'metrics.json',
                                  'swap.png', 'reconstruction.png', 'step_000005.png'])
def test_a_full_disk_is_a_sentence(name, copy, full, monkeypatch):
    monkeypatch.setitem(under_fire.presets.PRESETS, 'under_fire', under_fire.replace(
        under_fire.presets.PRESETS['under_fire'], train=under_fire.train | dict(sample_every=5, log_every=1)))
    before = (copy / 'checkpoint.pt').read_bytes()
    full(name)
    given = [w for k, v in {**tiny, 'steps': 6, 'run': copy}.items() for w in (f'--{k}', str(v))]
    with pytest.raises(SystemExit) as end: main([*given, '--resume'])
    said = end.value.code
    assert re.fullmatch(r'diffsda-train: \S+: .*cannot be written.*No space left on device.*; free some space there, '
                        'or name another folder', said) and str(copy) in said and '\n' not in said
    if name == 'checkpoint.pt':
        assert (copy / name).read_bytes() == before and 'the checkpoint before it is kept' in said
    monkeypatch.undo()
    assert experiment(copy, resume=True, steps=6).train().trainer.step == 6

@pytest.mark.parametrize('fits', [0, 3, 5]) # records that still fit
def test_no_word_from_the_thread_of_tensorboard(fits, copy, monkeypatch, capfd):
    from tensorboard.summary.writer.record_writer import RecordWriter
    whole, left = RecordWriter.write, iter(range(fits))
    def write(self, data):
        if next(left, None) is None: raise OSError(28, 'No space left on device')
        whole(self, data)
    monkeypatch.setattr(RecordWriter, 'write', write)
    said = refusal(experiment(copy, resume=True, steps=40).train)
    assert str(copy) in said and 'No space left on device' in said and 'free some space there' in said
    out, err = capfd.readouterr()
    assert 'Traceback' not in out + err and 'Exception' not in out + err


def small(frame, **kw): # -> a model that trains in a moment
    torch.manual_seed(0)
    return DiffSDA(replace(under_fire.model if len(frame) == 3 else SOUND, frame=frame, **kw))
SOUND = replace(under_fire.presets.PRESETS['vowels'].model, mean=0., std=1., hidden=8, s_dim=4, d_dim=2, n_steps=2)

def test_a_nan_in_one_batch_is_named(tmp_path):
    "One value of one clip of two hundred; the step is found by drawing the batches one after the other."
    values = noise(200)
    values['take 42'][5, 2] = np.nan
    data = sound(tmp_path / 'data', values)
    config = TrainConfig(steps=2000, batch_size=4, n_frames=4, log_every=40, checkpoint_every=10)
    trainer = Trainer(small((4,)), data, config, tmp_path / 'run', verbose=False)
    step = next(k for k in range(2000) if not trainer.batches[k].isfinite().all())
    said = refusal(trainer.fit)
    assert said.startswith(f'loss or gradient of step {step}: not finite, for its batch holds NaN') and 'lr' not in said
    assert re.search(r'numbers: clip take 42 \(1 of 16 values\); trainer.batches', said)
    saved = step // 10 * 10
    assert (f'of step {saved}' if saved else 'no checkpoint was written yet') in said and 'take' not in vars(data)

@pytest.mark.parametrize('lr, steps, kept, mend', [
    (1000., 2, 'no checkpoint was written yet', 'lower lr, for example lr=0.0001, then start again'),
    (1e-4, 8, 'checkpoint.pt, of step 6', 'lower lr, for example lr=1e-05, then go on with resume')])
def test_a_training_that_diverged(lr, steps, kept, mend, tmp_path):
    e = experiment(tmp_path / 'run', lr=lr, steps=30)
    step = e.trainer.train_step
    def diverge(clips):
        if e.trainer.step == steps and lr < 1:
            with torch.no_grad(): next(iter(e.trainer.unwrapped_model.parameters())).fill_(float('inf'))
        return step(clips)
    e.trainer.train_step = diverge
    said = refusal(e.train)
    assert f'of step {steps}: not finite, though every number of its batch is' in said
    assert kept in said and said.endswith(mend) and 'precision' not in said
    again = experiment(tmp_path / 'run', lr=1e-4, steps=10, resume=steps > 3) # the mend that is named
    assert again.train().trainer.step == 10

def test_gradients_that_are_0_are_named(tmp_path):
    "A layer that is trained in vain."
    class Vain(nn.Module):
        def forward(self, x): return x.detach()
    def train(folder, break_it):
        model, data = small((3, 16, 16)), CartoonFaces('train', 8, size=16)
        if break_it: model.denoiser.backbone.doublings[0].append(Vain())
        config = TrainConfig(steps=24, batch_size=2, n_frames=2, log_every=4, warmup=1, lr=1e-3)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter('always')
            Trainer(model, data, config, folder, verbose=False).fit()
        return [str(w.message) for w in said if 'never received a gradient' in str(w.message)]
    assert train(tmp_path / 'whole', False) == []
    said, = train(tmp_path / 'broken', True)
    assert '54 of 129 weights' in said and 'denoiser.backbone.down.levels.1' in said and 'they do not learn' in said

def test_doubling_repeats_every_value():
    "Forward as nn.Upsample; backward the sum over the four copies, in bf16, too."
    net = doubling(3, 2)
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.randn(2, 3, 4, 6, dtype=dtype, requires_grad=True)
        torch.testing.assert_close(net[1](x), nn.Upsample(scale_factor=2)(x), rtol=0, atol=0)
        weight = torch.randint(-4, 5, (2, 3, 8, 12)).to(dtype)
        ours, = torch.autograd.grad((net[1](x) * weight).sum(), x)
        assert torch.equal(ours, weight.reshape(2, 3, 4, 2, 6, 2).sum((3, 5)))
    assert [name for name, _ in net.named_parameters()] == ['0.weight', '0.bias']

@pytest.mark.long
def test_compiled_bf16_gradients_are_those_without():
    from diffsda.unet import UNet
    torch.manual_seed(0)
    net = UNet((3, 8, 8), 4, base=8, mults=(1, 2), n_res=1, attn=())
    for p in net.parameters():
        if not p.detach().any(): nn.init.normal_(p, std=.1)
    given = torch.randn(4, 3, 8, 8), torch.randn(4), torch.randn(4, 4)
    def gradients(f):
        net.zero_grad()
        with torch.autocast('cpu', torch.bfloat16): f(*given).float().square().mean().backward()
        return {name: p.grad.clone() for name, p in net.named_parameters()}
    plain, compiled = gradients(net), gradients(torch.compile(net))
    for name, g in plain.items(): assert (compiled[name] - g).norm() <= .1 * g.norm(), name

def test_two_precisions_in_one_kernel(tmp_path):
    for k, precision in enumerate(('bf16', 'no', 'bf16')):
        e = experiment(tmp_path / str(k), precision=precision, steps=1)
        assert e.trainer.accelerator.mixed_precision == precision and e.train().trainer.step == 1


ROWS = 'step,loss,lr\n2,0.5,0.001\n4,0.25,0.0005\n6,0.125,0\n'
@pytest.mark.parametrize('text', [
    ROWS, ROWS.replace('\n', '\r\n'), '\ufeff' + ROWS, 'sep=,\n' + ROWS,
    ROWS.replace('.', '#').replace(',', ';').replace('#', ','), ROWS.replace(',', '\t'),
    re.sub(r'[^,\n]+', lambda m: f'"{m[0]}"', ROWS), ROWS.replace('4,', '4.0,') + ',,\n'],
    ids='as written,CRLF,BOM,sep=,semicolons,tabs,quoted,floats'.split(','))
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16'])
def test_a_curve_that_a_spreadsheet_saved(text, encoding, tmp_path):
    path = tmp_path / 'metrics.csv'
    path.write_bytes(text.encode(encoding))
    curve = CSVTracker(path)
    curve.rewind(4)
    assert [(r['step'], float(r['loss']), float(r['lr'])) for r in curve.rows] == [(2, .5, .001), (4, .25, .0005)]

@pytest.mark.parametrize('raw', [b'epoch,loss\n1,2\n', b'step,loss\n,2\n', b'step,loss\ntwo,2\n', b'1,2\n3,4\n',
                                 b'PK\x03\x04\xff\xfe\x80'])
def test_a_curve_that_is_none_any_more(raw, copy):
    (copy / 'metrics.csv').write_bytes(raw)
    said = refusal(lambda: experiment(copy, resume=True, steps=6))
    assert said.startswith(f'{copy}/metrics.csv: ') and 'delete it' in said
    (copy / 'metrics.csv').unlink()
    experiment(copy, resume=True, steps=6).trainer.release()
