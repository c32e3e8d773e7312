"The first stage: the original's weights arrive whole; a broken, wrong or hostile checkpoint is refused"
import os, pickle, subprocess, sys, types, warnings, zipfile
from pathlib import Path
import pytest, torch
from diffsda.factors import BadInput
from diffsda.files import fingerprint
from diffsda.first_stage import FirstStage, build, convert, load_weights, must_fit, open_stage, read_ckpt, rename
from diffsda.first_stage import save_stage, stage_for
from original_vq import Original, lightning

root = Path(__file__).parents[1]
ENV = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(root))
SHAPES = {'vq-f8': {}, 'kl-f8': dict(widths=(128, 256, 512, 512), attend=False, codes=0)}

@pytest.fixture(scope='module')
def f8():
    torch.manual_seed(0)
    model = Original()
    for p in model.parameters(): p.data += .02 * torch.randn_like(p) # norms and biases, too, have numbers of their own
    model.quantize.embedding.weight.data.normal_(std=.5)
    return model.eval()

@pytest.mark.parametrize('kind', SHAPES)
def test_every_weight_has_its_place(kind):
    "At full size, without memory: as many weights, each of the right shape, none twice."
    with torch.device('meta'): original = Original(**SHAPES[kind]).state_dict()
    ours = build(kind, empty=True).state_dict()
    names = {k: rename(k, 4) for k in original}
    assert set(names.values()) == set(ours) and len(set(names.values())) == len(original)
    if kind == 'vq-f8': assert len(original) == 299 and sum(v.numel() for v in original.values()) == 67_652_783
    for k, new in names.items():
        v = original[k].squeeze() if 'attn' in k else original[k]
        assert v.shape == ours[new].shape, k

def converted(path, out): # by the program
    command = [sys.executable, root / 'data_prep/convert_first_stage.py', path, '--out', out]
    return subprocess.run(command, env=ENV, capture_output=True, text=True)

def module(name, **things): # that exists while the checkpoint is written, as on its authors' machine
    m = types.ModuleType(name); vars(m).update(things); sys.modules[name] = m
    return m

def test_the_original_and_its_conversion_decode_the_same(f8, tmp_path):
    "A .ckpt with Lightning's callbacks in it, through the program and back from the folder: equal latents and frames."
    Callback = type('ModelCheckpoint', (), {'__module__': 'pytorch_lightning.callbacks.model_checkpoint'})
    for name in ('pytorch_lightning', 'pytorch_lightning.callbacks'): module(name)
    module('pytorch_lightning.callbacks.model_checkpoint', ModelCheckpoint=Callback)
    import numpy as np
    path = tmp_path / 'model.ckpt'
    best = {'best_model_score': np.float64(.3), 'best_model_path': 'somewhere'}
    extra = {'callbacks': {Callback: best}, 'hyper_parameters': {'callback': Callback()}}
    torch.save(lightning(f8, extra), path)
    for name in [n for n in sys.modules if n.startswith('pytorch_lightning')]: del sys.modules[name]
    done = converted(path, tmp_path / 'stage')
    assert done.returncode == 0, done.stderr
    assert '299' in done.stdout and '3 of the training left out' in done.stdout
    ours = open_stage(tmp_path / 'stage')
    assert fingerprint(ours) in done.stdout
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad(): z = f8.encode(x * 2 - 1); picture = (f8.decode(z) / 2 + .5).clamp(0, 1)
    assert torch.allclose(ours.encode(x), z, atol=1e-4 * z.abs().max())
    assert torch.allclose(ours.decode(z), picture, atol=1e-4)
    again = converted(path, tmp_path / 'stage')
    assert again.returncode and 'already' in again.stderr

def test_kl_decodes_the_same(tmp_path):
    torch.manual_seed(0)
    original = Original(**SHAPES['kl-f8']).eval()
    ours = convert(original.state_dict(), 'kl-f8')
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad(): z = original.encode(x * 2 - 1); picture = (original.decode(z) / 2 + .5).clamp(0, 1)
    assert torch.allclose(ours.encode(x), z, atol=1e-4 * z.abs().max())
    assert torch.allclose(ours.decode(z), picture, atol=1e-4)

def refusal(f, *args, **kw):
    with pytest.raises(BadInput) as e: f(*args, **kw)
    return str(e.value)

def test_wrong_weights_are_named(f8):
    whole = f8.state_dict()
    less, more = dict(whole), whole | {'encoder.extra.weight': torch.zeros(1)}
    del less['decoder.up.2.block.1.conv1.bias']
    text = refusal(convert, less); assert '1 missing' in text and 'decoder.up_blocks.1.resnets.1.conv1.bias' in text
    text = refusal(convert, more); assert '1 too much' in text and 'encoder.extra.weight' in text
    twice = whole | {rename(k, 4): v for k, v in list(whole.items())[2:3]}; assert 'mixes' in refusal(convert, twice)
    bias = whole['encoder.conv_in.bias']
    for bad, words in ((bias * float('nan'), 'not finite'), (bias.long(), 'whole numbers')):
        assert words in refusal(convert, whole | {'encoder.conv_in.bias': bad})
    text = refusal(convert, whole, 'kl-f8'); assert 'VQ, f = 8' in text and 'KL, f = 8' in text
    with torch.device('meta'): f4 = Original((128, 256, 512), attend=False, codes=8192, c=3).state_dict()
    text = refusal(convert, f4); assert 'VQ, f = 4' in text and 'VQ, f = 8' in text
    with torch.device('meta'): kl = Original(**SHAPES['kl-f8']).state_dict()
    assert 'KL, f = 8' in refusal(convert, kl)

def test_older_names_of_diffusers(tmp_path):
    "Folders that diffusers wrote before 0.15 name the layers of attention otherwise; it still reads them, as we do."
    import diffusers
    from safetensors.torch import load_file, save_file
    blocks = dict(down_block_types=['DownEncoderBlock2D'] * 2, up_block_types=['UpDecoderBlock2D'] * 2)
    net = diffusers.AutoencoderKL(**blocks, block_out_channels=[8, 8], norm_num_groups=4, latent_channels=4)
    net.save_pretrained(tmp_path)
    path = tmp_path / 'diffusion_pytorch_model.safetensors'
    new = {'.to_q.': '.query.', '.to_k.': '.key.', '.to_v.': '.value.', '.to_out.0.': '.proj_attn.'}
    def older(k):
        for a, b in new.items(): k = k.replace(a, b)
        return k
    state = {older(k): v for k, v in load_file(path).items()}
    assert any('.proj_attn.' in k for k in state); save_file(state, path)
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        theirs = diffusers.AutoencoderKL.from_pretrained(tmp_path).encode(x * 2 - 1).latent_dist.mode()
        assert torch.allclose(open_stage(tmp_path).encode(x), theirs, atol=1e-5)

@pytest.fixture(scope='module')
def small():
    torch.manual_seed(0)
    return FirstStage(build('vq-f4-small')).eval()

def test_wrong_shapes(small):
    frames, z = torch.rand(2, 3, 32, 32), torch.zeros(2, 4, 8, 8)
    assert small.encode(frames).shape == z.shape and small.decode(z).shape == frames.shape
    for wrong in (frames[..., :30], frames[:, :2], frames[0, 0]):
        said = f'frames: shape {tuple(wrong.shape)}; expected (..., 3, h, w) with h and w multiples of 4'
        assert refusal(small.encode, wrong).startswith(said)
    for wrong in (z[:, :2], z[0, 0]):
        assert f'latents: shape {tuple(wrong.shape)}; expected (..., 4, h, w)' in refusal(small.decode, wrong)

def test_unknown_kind():
    assert "'vq-f16' is not known; expected one of vq-f8, kl-f8, vq-f4-small" in refusal(build, 'vq-f16')

def test_weights_of_another_kind(small):
    text = refusal(load_weights, build('vq-f8', empty=True), small.net.state_dict(), 'f4.safetensors')
    assert text.startswith('f4.safetensors: ') and 'VQ, f = 4' in text and 'those of VQ, f = 8' in text
    text = refusal(load_weights, build('vq-f4-small'), build('kl-f8', empty=True).state_dict(), 'kl.safetensors')
    assert 'KL, f = 8' in text and 'those of VQ, f = 4' in text

def test_folders_that_are_no_first_stage(small, tmp_path):
    assert f'there is no such folder in {Path.cwd()}' in refusal(open_stage, tmp_path / 'nowhere')
    assert 'convert_first_stage.py' in refusal(open_stage, tmp_path)
    save_stage(small, tmp_path)
    weights, config = tmp_path / 'diffusion_pytorch_model.safetensors', tmp_path / 'config.json'
    assert fingerprint(open_stage(tmp_path)) == fingerprint(small)
    assert sorted(p.name for p in tmp_path.iterdir()) == [config.name, weights.name]
    whole, text = weights.read_bytes(), config.read_text()
    weights.write_bytes(whole[:-10]); assert 'damaged' in refusal(open_stage, tmp_path)
    weights.write_bytes(whole)
    for bad in ('', '{', '{}', text.replace('VQModel', 'UNet2DModel')):
        config.write_text(bad)
        assert 'expected the configuration of a VQModel or an AutoencoderKL' in refusal(open_stage, tmp_path)

def test_what_is_in_the_place_of_a_folder(small, tmp_path, monkeypatch):
    save_stage(small, tmp_path / 'stage')
    weights, config = (tmp_path / 'stage' / name for name in ('diffusion_pytorch_model.safetensors', 'config.json'))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    assert fingerprint(open_stage('stage')) == fingerprint(open_stage('~/stage')) == fingerprint(small)
    (tmp_path / 'elsewhere').mkdir(); monkeypatch.chdir(tmp_path / 'elsewhere')
    said = f'stage: there is no such folder in {Path.cwd()}'
    assert refusal(open_stage, 'stage').startswith(said)
    said = refusal(open_stage, weights); assert 'a file' in said and said.endswith(f'name {weights.parent}')
    (tmp_path / 'model.ckpt').write_text('x'); assert 'convert_first_stage.py' in refusal(open_stage, '../model.ckpt')
    weights.rename(weights.with_suffix('.bin'))
    assert 'diffusion_pytorch_model.bin is a pickle and is not opened' in refusal(open_stage, weights.parent)
    config.write_text('{"s_dim": 48}'); assert 'without _class_name' in refusal(open_stage, config.parent)

def test_weights_under_other_names(small, tmp_path):
    "Of DataParallel and of torch.compile: the same model. One name alone is not that."
    from safetensors.torch import load_file, save_file
    save_stage(small, tmp_path)
    path = tmp_path / 'diffusion_pytorch_model.safetensors'
    whole = load_file(path)
    for wrapper in ('module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.'):
        save_file({wrapper + k: v for k, v in whole.items()}, path)
        assert fingerprint(open_stage(tmp_path)) == fingerprint(small), wrapper
    k = next(iter(whole))
    for change, words in (
            ({'module.' + k: whole[k].clone()}, '1 too much, e.g. module.'),
            ({k: whole[k] * float('nan')}, 'not finite'),
            ({k: whole[k].long()}, 'whole numbers'), ({k: whole[k][:1]}, 'of another shape')):
        save_file(whole | change, path)
        said = refusal(open_stage, tmp_path); assert words in said and str(path) in said, said
    for dtype in (torch.float16, torch.float64):
        save_file({k: v.to(dtype) for k, v in whole.items()}, path)
        again = open_stage(tmp_path)
        assert fingerprint(again) == fingerprint(small) and again.net.dtype == torch.float32

def test_pointers_of_git_lfs(small, tmp_path):
    "In place of the weights, of the original, and in place of nothing that can be read."
    save_stage(small, tmp_path)
    pointer = f'version https://git-lfs.github.com/spec/v1\noid sha256:{"0" * 64}\nsize 271000000\n'
    for path, act in ((tmp_path / 'diffusion_pytorch_model.safetensors', lambda: open_stage(tmp_path)),
                      (tmp_path / 'model.ckpt', lambda: read_ckpt(tmp_path / 'model.ckpt'))):
        path.write_text(pointer)
        said = refusal(act); assert said.startswith(str(path)) and 'git lfs pull' in said and 'damaged' not in said
        path.write_bytes(b''); assert 'git lfs' not in refusal(act)

@pytest.mark.parametrize('umask, mode', [(0o022, 0o644), (0o007, 0o660), (0o077, 0o600)])
def test_files_have_the_rights_of_new_files(small, tmp_path, umask, mode):
    "A colleague may read the weights where the umask says so: in this process and by the program."
    before = os.umask(umask)
    try: save_stage(small, tmp_path / 'new/stage')
    finally: os.umask(before)
    files = list((tmp_path / 'new/stage').iterdir())
    assert len(files) == 2 and {p.stat().st_mode & 0o777 for p in files} == {mode}
    assert (tmp_path / 'new/stage').stat().st_mode & 0o777 == 0o777 & ~umask

def test_frames_of_other_types(small):
    frames = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    z = small.encode(frames)
    for same in (frames.numpy(), frames.tolist(), frames.long(), frames.double() / 255, frames.numpy() / 255):
        assert torch.equal(small.encode(same), z)
    for same in (z.double(), z.numpy(), z.tolist()): assert torch.equal(small.decode(same), small.decode(z))
    assert 'divide them by 255' in refusal(small.encode, frames.float())
    assert '(torch.as_tensor(clip) + 1) / 2' in refusal(small.encode, frames / 127.5 - 1)
    assert 'divide them by 255' in refusal(small.prepare_batch, frames[None].float())
    assert 'not finite' in refusal(small.decode, z * float('nan')) and 'one frame' in refusal(small.encode, frames[:0])
    for batch in (0, -1, 1.5, '2'): assert refusal(small.encode, frames, batch).startswith('batch: ')
    half = FirstStage(build('vq-f4-small')).eval()
    half.net.load_state_dict(small.net.state_dict())
    half.bfloat16()
    assert torch.allclose(half.encode(frames), z, atol=.05 * z.abs().max()) and half.decode(z).dtype == torch.float32

def test_model_data_and_first_stage_belong_together(small, tmp_path):
    save_stage(small, tmp_path)
    mine, other = fingerprint(small), '0123456789abcdef'
    def model(first_stage): return types.SimpleNamespace(latent=True, first_stage=first_stage)
    def data(made):
        info = dict(fingerprint=made, first_stage=str(tmp_path))
        return types.SimpleNamespace(info=info, folder='data/faces')
    must_fit(small, mine, 'the model'); must_fit(small, '', 'the model')
    said = f'the model: it belongs to the first stage {other}, this one is {mine}'
    assert refusal(must_fit, small, other, 'the model').startswith(said)
    assert fingerprint(stage_for(model(mine), data(mine))) == mine and stage_for(model(mine), None) is None
    assert f'trained on latents of the first stage {other}' in refusal(stage_for, model(other), data(mine))
    assert 'the data: it belongs' in refusal(stage_for, model(''), data(other))
    assert 'the model: it belongs' in refusal(stage_for, model(other), None, tmp_path)
    pixels = types.SimpleNamespace(latent=False)
    assert stage_for(pixels, None) is None and 'works on pixels' in refusal(stage_for, pixels, None, tmp_path)

class Hostile:
    def __init__(self, path): self.path = path
    def __reduce__(self): return Path.write_text, (self.path, 'was here')

def test_broken_and_hostile_checkpoints(tmp_path):
    path, harm = tmp_path / 'model.ckpt', tmp_path / 'harm.txt'
    weights = {'encoder.conv_in.weight': torch.zeros(128, 3, 3, 3)}
    torch.save({'state_dict': weights, 'callbacks': {'x': Hostile(harm)}}, path)
    text = refusal(read_ckpt, path); assert 'refused' in text and 'pathlib' in text
    torch.save({'state_dict': {'a': torch.zeros(100)}, 'cb': os.system}, path)
    assert 'system' in refusal(read_ckpt, path)
    torch.save({'state_dict': {'a': torch.zeros(1000)}}, path)
    path.write_bytes(path.read_bytes()[:-300])
    assert 'cut short' in refusal(read_ckpt, path)
    path.write_bytes(b''); assert 'whole' in refusal(read_ckpt, path)
    path.write_bytes(pickle.dumps(Hostile(harm))); assert 'whole' in refusal(read_ckpt, path)
    torch.save({'state_dict': {'a': torch.zeros(10)}}, path, _use_new_zipfile_serialization=False)
    assert 'whole' in refusal(read_ckpt, path)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.jit.script(torch.nn.Linear(1, 1)).save(str(path))
    assert 'whole' in refusal(read_ckpt, path) # a program, not weights
    torch.save({'epoch': 3}, path); assert 'no weights' in refusal(read_ckpt, path)
    states = [torch.zeros(1)], 'weights', torch.zeros(3), {3: torch.zeros(1)}
    for content in ([1, 2], *({'state_dict': state} for state in states)):
        torch.save(content, path); assert 'no weights' in refusal(read_ckpt, path)
    with zipfile.ZipFile(path, 'w') as z: z.writestr('model.ckpt', b'...')
    assert 'unzip' in refusal(read_ckpt, path)
    assert 'no such file' in refusal(read_ckpt, tmp_path / 'nothing.ckpt')
    assert not harm.exists()
    done = converted(path, tmp_path / 'stage')
    assert done.returncode and 'Traceback' not in done.stderr and not (tmp_path / 'stage').exists()
