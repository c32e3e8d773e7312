"""Training under fire: SIGKILL at random moments, and full disks; a resumed run must equal a straight one to the bit.

python tests/under_fire.py --kills 100 --disks 20      minutes; a short version is in test_under_fire.py
"""
import argparse, contextlib, csv, json, os, random, resource, shutil, signal, subprocess, sys, tempfile, time, traceback
from dataclasses import replace
from pathlib import Path
import torch
import torch._dynamo, torch.utils.tensorboard # what a run imports late
from diffsda import presets
from diffsda.experiment import Experiment
from diffsda.factors import BadInput
from diffsda.model import DiffSDA
from diffsda.settings import read_settings
from diffsda.training import load_checkpoint

model = replace(presets.PRESETS['cartoon'].model, frame=(3, 16, 16), base=8, mults=(1, 2), n_res=1, patch=2, attn=(),
                enc_base=8, enc_mults=(1, 2), enc_n_res=1, enc_patch=2, enc_attn=(), hidden=8,
                s_dim=4, d_dim=2, n_steps=2)
train = dict(batch_size=2, n_frames=3, steps=20, minutes=40., warmup=3, log_every=4, checkpoint_every=3,
             sample_every=10)
presets.PRESETS['under_fire'] = replace(presets.PRESETS['cartoon'], model=model, train=train)


def life(run, resume): # one run, in a process of its own -> exit code, what it says at the end
    given = dict(dataset='cartoon', preset='under_fire', n_clips=8, pairs=2, run=str(run), resume=resume)
    try: Experiment(read_settings(given), verbose=False).train().measure(verbose=False)
    except BadInput as e: return 1, f'diffsda-train: {e}'
    except BaseException: return 2, traceback.format_exc()
    return 0, ''

def start(run, log, limit=resource.RLIM_INFINITY): # folder, file for what it says, bytes that a file may have -> pid
    "Fork from here: the imports are paid once. It goes on from a checkpoint where there is one."
    pid = os.fork()
    if pid: return pid
    try:
        with open(log, 'w') as f:
            for k in (1, 2): os.dup2(f.fileno(), k)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            code, said = life(run, (Path(run) / 'checkpoint.pt').exists())
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            os.write(1, said.encode())
        os._exit(code)
    finally: os._exit(3)

def end(pid): return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def curve(run): # the columns that do not depend on the clock
    with open(run / 'metrics.csv', newline='') as f: return [(r['step'], r['loss'], r['lr']) for r in csv.DictReader(f)]

def flat(value, name=''): # nested dicts and lists of a checkpoint -> pairs of names and values
    if isinstance(value, dict): return [x for k, v in value.items() for x in flat(v, f'{name}.{k}')]
    if isinstance(value, (list, tuple)): return [x for k, v in enumerate(value) for x in flat(v, f'{name}.{k}')]
    return [(name, value)]

def same(a, b): return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b

def differences(run, straight): # two finished runs -> list of what is not equal to the bit
    one, two = (dict(flat(load_checkpoint(folder / 'checkpoint.pt'))) for folder in (straight, run))
    found = [k for k in one if k != '.elapsed' and not (k in two and same(one[k], two[k]))]
    if curve(run) != curve(straight): found.append('metrics.csv')
    numbers = [json.loads((folder / 'metrics.json').read_text()) | {'minutes': 0} for folder in (straight, run)]
    if numbers[0] != numbers[1]: found.append('metrics.json')
    def files(folder): return {str(p.relative_to(folder)) for p in folder.rglob('*') if 'tfevents' not in p.name}
    if files(run) != files(straight): found.append(f'files: {sorted(files(run) ^ files(straight))}')
    samples = [str(p.relative_to(straight)) for p in straight.glob('samples/*.png')]
    for name in ('model.safetensors', 'config.json', 'swap.png', 'reconstruction.png', *samples):
        if (run / name).read_bytes() != (straight / name).read_bytes(): found.append(name)
    return found

def check_left(run, step): # folder, step of the last checkpoint -> that of this one
    "What a killed run leaves is whole: a checkpoint that is not older, weights that load, numbers of those weights."
    if not (run / 'checkpoint.pt').exists():
        assert step < 0, 'the checkpoint is lost'
        return -1
    now = load_checkpoint(run / 'checkpoint.pt')['step']
    assert now >= step, f'the checkpoint is of step {now}, it was of {step}'
    if (run / 'model.safetensors').exists(): DiffSDA.from_pretrained(run)
    if (run / 'metrics.json').exists(): assert json.loads((run / 'metrics.json').read_text())['steps'] == now
    if (run / 'metrics.csv').exists(): curve(run)
    return now


def kill(folder, straight, seconds, kills, rng): # -> list of the steps at which it was found, what differs at the end
    "Killed so many times, each at a random moment of the life of a straight run, then left to end."
    run, at = folder / 'run', -1
    found = []
    for _ in range(kills):
        pid = start(run, folder / 'log')
        time.sleep(rng.uniform(0, .7 * seconds))
        os.kill(pid, signal.SIGKILL)
        code = end(pid)
        assert code in (0, -signal.SIGKILL), (folder / 'log').read_text()
        at = check_left(run, at)
        found.append(at)
    code = end(start(run, folder / 'log'))
    assert code == 0, (folder / 'log').read_text()
    return found, differences(run, straight)

@contextlib.contextmanager
def disk(folder): # -> a folder that is a disk of 8 MB; False where only root may mount
    folder.mkdir()
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', folder], capture_output=True)
    try: yield not done.returncode
    finally:
        if not done.returncode: subprocess.run(['umount', folder], check=True)

def ballast(path): # another program takes all that is left
    with contextlib.suppress(OSError), open(path, 'wb', buffering=0) as f:
        while f.write(bytes(4096)): pass

def fill(folder, straight, seconds, rng): # -> what it said, what differs at the end
    "The disk is full from a random moment on, or no file may grow beyond a size: a sentence; then it goes on."
    largest = (straight / 'checkpoint.pt').stat().st_size
    with disk(folder / 'disk') as mounted:
        run, full = folder / 'disk' / 'run', folder / 'disk' / 'ballast'
        mounted = mounted and rng.random() < .6
        pid = start(run, folder / 'log', resource.RLIM_INFINITY if mounted else int(largest ** rng.uniform(.3, 1)))
        if mounted:
            time.sleep(rng.uniform(0, .7 * seconds))
            ballast(full)
        code, said = end(pid), (folder / 'log').read_text().strip()
        assert code in (0, 1) and 'Traceback' not in said and said.count('\n') == 0, said
        if code: assert str(run) in said and ('free some space' in said or 'ulimit' in said), said
        check_left(run, -1)
        full.unlink(missing_ok=True)
        again = end(start(run, folder / 'log'))
        assert again == 0, (folder / 'log').read_text()
        return said, differences(run, straight)

def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=100)
    parser.add_argument('--disks', type=int, default=20)
    parser.add_argument('--chain', type=int, default=4, help='kills of one run, before it may end')
    parser.add_argument('--seed', type=int, default=0)
    a = parser.parse_args(argv)
    torch.set_num_threads(1)
    rng, began, left, wrong = random.Random(a.seed), time.monotonic(), a.kills, []
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        straight = tmp / 'straight'
        assert end(start(straight, tmp / 'log')) == 0, (tmp / 'log').read_text()
        seconds, steps = time.monotonic() - began, []
        while left:
            n = min(a.chain, left)
            folder = Path(tempfile.mkdtemp(dir=tmp))
            found, different = kill(folder, straight, seconds, n, rng)
            steps, left = steps + found, left - n
            wrong += [(found, different)] * bool(different)
            shutil.rmtree(folder)
        said = []
        for _ in range(a.disks):
            folder = Path(tempfile.mkdtemp(dir=tmp))
            sentence, different = fill(folder, straight, seconds, rng)
            said.append(sentence.split(': ')[1].split('/')[-1] if sentence else 'nothing, it had ended')
            wrong += [(sentence, different)] * bool(different)
            shutil.rmtree(folder)
    training = sum(0 <= s < train['steps'] for s in steps)
    print(f'{a.kills} kills: {sum(s < 0 for s in steps)} before the first checkpoint, {training} in training, '
          f'{len(steps) - training - sum(s < 0 for s in steps)} after it')
    print(f'{a.disks} full disks: ' + ', '.join(f'{said.count(k)} {k}' for k in dict.fromkeys(said)))
    print(f'{len(wrong)} not equal to a straight run; {time.monotonic() - began:.0f} s')
    for case in wrong: print(case)
    return bool(wrong)

if __name__ == '__main__': sys.exit(main())
