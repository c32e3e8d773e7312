"""Files are whole or absent; settings and saved models are right, or refused in a sentence that says what to do."""
import csv, errno, hashlib, json, os, pickle, stat, subprocess, sys, time
from dataclasses import dataclass
from pathlib import Path
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from diffsda.factors import BadInput, refusal
from diffsda.files import (
    RENAMED, Saved, check_config, digest, expanded, explained, fingerprint, locked, reason_of, replacing,
    state_dict_faults, walk, write_json, write_rows)

# files

def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'new' / 'note.json'   # its folder is made
    write_json(path, {'kept': 1})
    with pytest.raises(KeyboardInterrupt):
        with replacing(path) as tmp:
            Path(tmp).write_text('{"half')
            assert json.loads(path.read_text()) == {'kept': 1}   # whoever reads meanwhile reads the old one
            raise KeyboardInterrupt
    assert json.loads(path.read_text()) == {'kept': 1} and [p.name for p in path.parent.iterdir()] == ['note.json']
    write_json(path, {'kept': 'ö'})
    assert json.loads(path.read_text(encoding='utf-8')) == {'kept': 'ö'}

def test_a_block_that_writes_nothing_leaves_the_old_file(tmp_path):
    (tmp_path / 'note').write_text('old')
    with pytest.raises(FileNotFoundError):
        with replacing(tmp_path / 'note'): pass
    assert (tmp_path / 'note').read_text() == 'old'

def test_rows(tmp_path):
    rows = [{'id': 'a, "b"\nc', 'label': ''}, {'id': 'ö'}]
    write_rows(tmp_path / 't.csv', ['id', 'label'], rows)
    with open(tmp_path / 't.csv', newline='', encoding='utf-8') as f: found = list(csv.DictReader(f))
    assert found == [{'id': 'a, "b"\nc', 'label': ''}, {'id': 'ö', 'label': ''}]
    before = (tmp_path / 't.csv').read_bytes()
    with pytest.raises(ValueError): write_rows(tmp_path / 't.csv', ['id'], rows)   # a column that is not in the table
    assert (tmp_path / 't.csv').read_bytes() == before and len(list(tmp_path.iterdir())) == 1

def test_digest_of_more_than_one_block(tmp_path):
    data = bytes(range(256)) * 10_000
    (tmp_path / 'f').write_bytes(data)
    assert digest(tmp_path / 'f') == hashlib.sha256(data).hexdigest()

@pytest.mark.parametrize('umask, rights', [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_rights_that_the_user_chose(umask, rights, tmp_path):
    before = os.umask(umask)
    try:
        torch.manual_seed(0)
        Small(SmallConfig()).save_pretrained(tmp_path / 'model')
        write_json(tmp_path / 'note.json', {})
    finally: os.umask(before)
    for path in (tmp_path / 'model/model.safetensors', tmp_path / 'model/config.json', tmp_path / 'note.json'):
        assert stat.S_IMODE(path.stat().st_mode) == rights, path

# errors, paths, locks, walks

@pytest.mark.parametrize('error, words', [
    (OSError(errno.ENOSPC, 'No space left on device'), ['No space left on device', 'free some space']),
    (RuntimeError('PytorchStreamWriter failed writing file data/0: file write failed'), ['free some space']),
    (PermissionError(errno.EACCES, 'Permission denied'), ['Permission denied', 'ask for permission']),
    (MemoryError(), ['MemoryError', 'free some memory']),
    (ModuleNotFoundError("No module named 'soundfile'", name='soundfile'), ['pip install soundfile']),
    (ValueError('bad header\nTraceback of C++ at 0x7f00'), ['ValueError: bad header', 'fetch it again']),
    (UnicodeDecodeError('utf-8', b'\xe4', 0, 1, 'no'), ['UnicodeDecodeError', 'fetch it again']),
], ids=lambda v: type(v).__name__ if isinstance(v, Exception) else '')
def test_an_error_of_a_library_in_one_sentence(error, words):
    def act():
        with explained('a.mp4', 'not readable', 'fetch it again'): raise error
    said = refusal(act)
    assert said.startswith('a.mp4: not readable (') and all(w in said for w in words) and '\n' not in said
    assert 'Traceback' not in said

def test_reasons_are_safe_for_any_encoding():
    assert reason_of(ValueError('no image: 4\udce4.jpg')).encode() == rb'ValueError: no image: 4\udce4.jpg'

def test_a_refusal_inside_is_not_explained_again():
    from diffsda.factors import refuse
    def act():
        with explained('outer', 'not readable'): refuse('inner', 'wrong', '')
    assert refusal(act) == 'inner: wrong'

def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert expanded('~/runs/x') == tmp_path / 'runs/x' and expanded('a/~/b') == Path('a/~/b')
    assert 'no user of that name' in refusal(lambda: expanded('~nobody_here/x'))

def test_a_lock_holds_against_other_processes_and_dies_with_its_own(tmp_path):
    hold = ("import sys, time; from diffsda.files import locked\nwith locked(sys.argv[1], 'run'): "
            "print('held', flush=True); time.sleep(60)")
    other = subprocess.Popen([sys.executable, '-c', hold, tmp_path], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == 'held\n'
    said = refusal(lambda: locked(tmp_path, 'run').__enter__())
    assert said.startswith(f'{tmp_path}: another run is at work there')
    other.kill()
    other.wait()
    with locked(tmp_path, 'run'): pass

def test_a_walk_gives_each_file_once(tmp_path):
    data, disk = tmp_path / 'data', tmp_path / 'disk'
    for place in (data / 'ann', data / 'bob', disk): place.mkdir(parents=True)
    real = (data / 'ann/1.mp4', data / 'bob/2.mp4', disk / '3.mp4', data / '.hidden.mp4')
    for path in real: path.write_text(path.name)
    (data / 'ann/up').symlink_to('..')
    (data / 'ann/bob').symlink_to('../bob')
    (data / '0.mp4').symlink_to('bob/2.mp4')
    (data / 'more').symlink_to(disk)
    (data / 'more again').symlink_to(disk)
    (data / 'lost.mp4').symlink_to('gone.mp4')
    (data / 'above').symlink_to(tmp_path)
    os.link(data / 'ann/1.mp4', data / 'hard.mp4')
    os.mkfifo(data / 'pipe.mp4')
    files, left_out = walk(data)
    assert files == [data / 'ann/1.mp4', data / 'bob/2.mp4', data / 'more/3.mp4']
    reasons = {str(p.relative_to(data)): why for p, why in left_out}
    assert reasons.pop('lost.mp4') == 'a link to gone.mp4, where nothing is'
    assert reasons.pop('pipe.mp4') == 'neither a file nor a folder'
    assert reasons.pop('above') == 'a link to a folder above'
    same = {'ann/up': '', 'ann/bob': 'bob', '0.mp4': 'bob/2.mp4', 'more again': 'more', 'hard.mp4': 'ann/1.mp4'}
    assert reasons == {k: f'the same as {data / v}' for k, v in same.items()}

# weights

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(3, 2)
        self.register_buffer('count', torch.tensor(3))

def test_fingerprint():
    net = Net()
    before = fingerprint(net)
    assert len(before) == 16 and fingerprint(net.half()) == before
    net.count += 1
    assert fingerprint(net) != before

@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_weights_that_are_not_finite_are_refused(value):
    net = Net()
    state = net.state_dict() | {'line.bias': torch.tensor([0., value])}
    said = refusal(lambda: state_dict_faults(net, state, 'model.safetensors'))
    assert said.startswith('model.safetensors: 1 weights are not finite numbers, e.g. line.bias')
    whole = net.state_dict() | {'line.bias': torch.tensor([0, 1])}
    assert 'whole numbers, e.g. line.bias' in refusal(lambda: state_dict_faults(net, whole, ''))

def test_what_does_not_fit():
    net = Net()
    good = net.state_dict()
    assert state_dict_faults(net, good, '') == ''
    odd = {'line.weight': torch.zeros(2, 4), 'count': good['count'], 'more': torch.zeros(1)}
    assert state_dict_faults(net, odd, '') == (
        '1 missing, e.g. line.bias; 1 too much, e.g. more; 1 of another shape, e.g. line.weight (2, 4) for (2, 3)')
    with torch.device('meta'): empty = Net()
    assert state_dict_faults(net, empty.state_dict(), '') == ''   # without values there is nothing to be NaN

# settings

@dataclass(frozen=True)
class Config:
    width: int = 8
    rate: float = .5
    shift: float = -1.
    drop: float = 0.
    mean: float = .5
    mults: tuple = (1, 2)
    attn: tuple = (2,)
    kind: str = 'unet'
    on: bool = True
    def __post_init__(self): check_config(self, free=('shift', 'mean'), zero=('drop', 'attn'), many=('mean',))

def test_settings_that_fit():
    fit = Config(width=1, rate=2, shift=-3, drop=0, mean=[0., -1.], mults=[4], attn=[], kind='', on=False)
    assert fit.mean == (0., -1.) and fit.mults == (4,) and fit.attn == ()

@pytest.mark.parametrize('name, values, want', [
    ('width', (0, -1, 1.5, True, '8', None, float('nan'), (8,)), 'a whole number above 0; for example width=8'),
    ('rate', (0, -.1, float('inf'), float('nan'), False, '1', None), 'a number above 0'),
    ('rate', ((.5,),), 'numbers above 0'),
    ('shift', (float('nan'), 'x', True), 'a number; for example shift=-1.0'),
    ('drop', (-.1, float('inf')), 'a number of 0 or more'),
    ('mean', ((), ('x',), (float('nan'),)), 'numbers; for example'),
    ('mults', ((), (0,), (1.5,), 2, (True,), '12'), 'whole numbers above 0'),
    ('attn', ((-1,), 2), 'whole numbers of 0 or more'),
    ('kind', (3, None), 'a text'),
    ('on', (1, 'yes', None), 'True or False')])
def test_settings_that_do_not(name, values, want):
    for value in values:
        said = refusal(lambda: Config(**{name: value}))
        assert said.startswith(f'{name}={value!r}: ') and want in said, said

# saved models

@dataclass(frozen=True)
class SmallConfig:
    width: int = 8
    def __post_init__(self): check_config(self)

class Small(nn.Module, Saved):
    def __init__(self, config: SmallConfig):
        super().__init__()
        self.config = config
        self.line = nn.Linear(config.width, 64)
        self.register_buffer('mean', torch.full((3,), 1 / 3))

@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = Small(SmallConfig(width=32))
    model.save_pretrained(tmp_path / 'model')
    return model, tmp_path / 'model'

def test_float32_is_kept_to_the_last_bit(saved):
    model, folder = saved
    stored, loaded = load_file(folder / 'model.safetensors'), Small.from_pretrained(folder)
    for name, v in model.state_dict().items():
        assert stored[name].dtype == torch.float32 and torch.equal(stored[name], v)
        assert torch.equal(loaded.state_dict()[name], v)
    assert loaded.config == model.config and not loaded.training

def test_float16_halves_the_file(saved, tmp_path):
    model, folder = saved
    model.save_pretrained(tmp_path / 'half', dtype=torch.float16)
    size = lambda where: (where / 'model.safetensors').stat().st_size
    assert abs(size(tmp_path / 'half') / size(folder) - .5) < .05
    stored, loaded = load_file(tmp_path / 'half' / 'model.safetensors'), Small.from_pretrained(tmp_path / 'half')
    assert stored['line.weight'].dtype == torch.float16
    assert torch.equal(loaded.line.weight, model.line.weight.half().float())
    assert torch.equal(loaded.mean, model.mean)   # a buffer is not rounded
    assert fingerprint(loaded) == fingerprint(model)
    model.save_pretrained(tmp_path / 'half')      # a choice is for one call only
    assert load_file(tmp_path / 'half' / 'model.safetensors')['line.weight'].dtype == torch.float32

@pytest.mark.parametrize('old, new', RENAMED.items())
def test_an_old_setting_is_answered_with_its_new_name(old, new, saved):
    folder = saved[1]
    write_json(folder / 'config.json', {'width': 32, old: True})
    said = refusal(lambda: Small.from_pretrained(folder))
    assert said.startswith(f'{folder / "config.json"}: the setting {old} of an earlier version') and new in said

def test_quiet_is_input_scaling_now(tmp_path):
    from diffsda.model import DiffSDA
    from diffsda.presets import ModelConfig
    sizes = dict(frame=(80,), backbone='mlp', s_dim=2, d_dim=2, hidden=8, base=8, enc_base=8)
    DiffSDA(ModelConfig(**sizes, input_scaling='wiener')).save_pretrained(tmp_path)
    config = json.loads((tmp_path / 'config.json').read_text())
    assert config['input_scaling'] == 'wiener'
    assert DiffSDA.from_pretrained(tmp_path).config.input_scaling == 'wiener'
    del config['input_scaling']
    write_json(tmp_path / 'config.json', config | {'quiet': True})
    said = refusal(lambda: DiffSDA.from_pretrained(tmp_path))
    assert 'quiet' in said and "input_scaling ('wiener' for true, 'unit' for false)" in said

def test_what_is_no_saved_model(saved, tmp_path):
    folder = saved[1]
    def said(): return refusal(lambda: Small.from_pretrained(folder))
    write_json(folder / 'config.json', {'widht': 32})
    assert 'unknown setting widht; expected width' in said()
    write_json(folder / 'config.json', [32])
    assert 'no settings by name' in said()
    (folder / 'config.json').write_text('{"wid')
    assert 'not readable (JSONDecodeError' in said()
    write_json(folder / 'config.json', {'width': 0})
    assert 'width=0' in said() and said().startswith(str(folder))
    write_json(folder / 'config.json', {'width': 16})
    assert 'another architecture' in said() and 'line.weight (64, 32) for (64, 16)' in said()
    write_json(folder / 'config.json', {'width': 32})
    weights = (folder / 'model.safetensors').read_bytes()
    (folder / 'model.safetensors').write_bytes(weights[:-9])
    assert 'damaged or truncated' in said()
    save_file({'line.weight': torch.zeros(64, 32)}, folder / 'model.safetensors')
    assert '2 missing' in said()
    (folder / 'model.safetensors').unlink()
    assert 'there is no model.safetensors' in said()
    assert 'there is no such folder' in refusal(lambda: Small.from_pretrained(tmp_path / 'nowhere'))

def test_names_that_wrappers_put_before_weights(saved):
    model, folder = saved
    for wrapper in ('module.', '_orig_mod.', 'module._orig_mod.'):
        save_file({wrapper + k: v for k, v in model.state_dict().items()}, folder / 'model.safetensors')
        loaded = Small.from_pretrained(folder)
        assert torch.equal(loaded.line.weight, model.line.weight)

def test_a_pointer_of_git_lfs(saved):
    folder = saved[1]
    (folder / 'model.safetensors').write_text('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n')
    assert 'git lfs pull' in refusal(lambda: Small.from_pretrained(folder))

def test_arguments_of_from_pretrained(saved, monkeypatch):
    model, folder = saved
    for name in ('dtype', 'torch_dtype'):
        assert Small.from_pretrained(folder, **{name: torch.float16}).line.weight.dtype == torch.float16
    assert torch.equal(Small.from_pretrained(folder, map_location='cpu').line.weight, model.line.weight)
    if not torch.cuda.is_available():
        assert "map_location='cuda': this device is not there" in refusal(
            lambda: Small.from_pretrained(folder, map_location='cuda'))
    assert 'device_map is no argument' in refusal(lambda: Small.from_pretrained(folder, device_map='auto'))
    assert f'name its folder: {folder}' in refusal(lambda: Small.from_pretrained(folder / 'config.json'))
    monkeypatch.setenv('HOME', str(folder.parent))
    assert torch.equal(Small.from_pretrained('~/model').line.weight, model.line.weight)

def test_a_folder_that_is_not_here_is_not_sought_on_the_hub_for_long(monkeypatch, tmp_path):
    "The Hub is asked once; without a network the answer comes at once."
    import huggingface_hub
    asked = []
    def unreachable(self, name, **kw):
        asked.append(name)
        raise ConnectionError('Name or service not known')
    monkeypatch.setattr(huggingface_hub.HfApi, 'model_info', unreachable)
    monkeypatch.chdir(tmp_path)
    began = time.monotonic()
    said = refusal(lambda: Small.from_pretrained('checkpoints/cartoon64'))
    assert asked == ['checkpoints/cartoon64'] and time.monotonic() - began < 2
    assert said.startswith(f'checkpoints/cartoon64: there is no such folder in {tmp_path}')
    assert 'there is no such folder' in refusal(lambda: Small.from_pretrained('cartoon64')) and len(asked) == 1

class Hostile:
    def __init__(self, path): self.path = path
    def __reduce__(self): return Path.touch, (self.path,)

def test_a_pickle_is_not_opened(saved, tmp_path):
    folder = saved[1]
    (folder / 'model.safetensors').unlink()
    (folder / 'pytorch_model.bin').write_bytes(pickle.dumps(Hostile(tmp_path / 'executed')))
    with pytest.raises(BadInput, match='pytorch_model.bin is a pickle and is not opened'): Small.from_pretrained(folder)
    assert not (tmp_path / 'executed').exists()
