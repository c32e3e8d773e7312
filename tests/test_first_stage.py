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
    for bad in (whole['encoder.conv_in.bias'] * float('nan'), whole['encoder.conv_in.bias'].long()):
        assert 'not finite' in refusal(convert, whole | {'encoder.conv_in.bias': bad})
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
    assert 'there is no config.json' in refusal(open_stage, tmp_path / 'nowhere')
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
