"""data_prep from files in their owners' layouts to a swapped clip; killed, damaged, refused."""
import csv, json, os, random, shutil, signal, subprocess, sys, time
from pathlib import Path
import numpy as np
import pytest
import torch
from PIL import Image
from diffsda import presets
from diffsda.clips import Clips, ShardWriter, check, finish, moments, read_info
from diffsda.datasets import open_dataset
from diffsda.experiment import Experiment
from diffsda.settings import Settings
from diffsda.factors import BadInput, refusal
from diffsda.files import fingerprint
from diffsda.first_stage import open_stage
from diffsda.presets import ModelConfig, Preset
from diffsda.speech import Speech
from diffsda.sprites import Sprites
from diffsda.video import Video, cropped
import fixtures_speech, fixtures_video as made
from fixtures import make_sprite_sheets, run_here
from fixtures_notebooks import run_cells
from fixtures_video import performance, scene, write_images, write_video

root = Path(__file__).resolve().parent.parent
ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'}
def program(name, folder, out, *options, code=0, **kw):
    "Run a program of data_prep and return what it printed: in this process, or with `kw` of subprocess.run in its own."
    argv = [root / f'data_prep/{name}.py', folder, '--out', out, '--workers', '2' if kw else '0', *options]
    argv = list(map(str, argv))
    if kw:
        done = subprocess.run([sys.executable, *argv], env=ENV, capture_output=True, text=True, timeout=300, **kw)
        said, left = done.stdout + done.stderr, done.returncode
    else: said, left = run_here(argv)
    assert left == code, said
    return said

def files(folder): return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}
def table(path): # -> list of dicts
    with open(path, newline='', encoding='utf-8') as f: return list(csv.DictReader(f))
def skipped(folder): return {r['path']: r['reason'] for r in table(folder / 'skipped.csv')}
def apart(a, b): return np.abs(np.asarray(a, float) - np.asarray(b, float)).mean()

TINY = dict(s_dim=6, d_dim=3, hidden=12, base=8, mults=(1, 2), attn=(), n_res=1, patch=4,
            enc_base=8, enc_mults=(1, 2), enc_attn=(), enc_n_res=1, enc_patch=4, n_steps=3)
def trained(monkeypatch, name, data, run, **model):
    "Train three steps, swap, and return the metrics."
    budget = dict(batch_size=2, n_frames=4, lr=1e-3, steps=3)
    monkeypatch.setitem(presets.PRESETS, 'tiny', Preset(ModelConfig(**TINY | model), budget, 'tests'))
    settings = Settings(dataset=name, data_dir=str(data), preset='tiny', run=str(run), pairs=2)
    one = Experiment(settings, verbose=False).train()
    found = one.measure(verbose=False)
    assert (run / 'swap.png').stat().st_size > 1000 and found['steps'] == 3
    one.table()
    one.summary()
    return found


# from the owners' files to a swap, and the truth of what lies between

def test_mug(tmp_path, monkeypatch):
    folder = made.make_mug(tmp_path / 'files')
    said = program('mug', folder, tmp_path / 'mug')
    # three subjects, two expressions: neutral is not among the six
    assert '6 clips (2 test, 4 train)' in said and '3,429' in said
    data = Clips(tmp_path / 'mug')
    assert set(data.labels['expression']) == {'anger', 'happiness'} and check(tmp_path / 'mug') == []
    # where the face is, is known: one square inside the true 96 must be what was taken, in every frame
    for clips in (data, Clips(tmp_path / 'mug', 'test')):
        k = {'001': 0, '002': 1, '010': 2}[clips.labels['subject'][0]]
        j = {'anger': 0, 'happiness': 1}[clips.labels['expression'][0]]
        x, y, clip = 30 + 10 * k, 24, clips.clip(0)
        face = scene(performance(k, j, 16), at=(x, y))
        inside = [
            (left, top, size)
            for size in range(52, 97)
            for left in range(x, x + 97 - size)
            for top in range(y, y + 97 - size)
        ]
        best = min(inside, key=lambda box: apart(cropped(face[:1], box, 64)[:, :, ::4, ::4], clip[:1, :, ::4, ::4]))
        assert apart(cropped(face, best, 64), clip) < 7 # what JPEG leaves
    trained(monkeypatch, 'mug', tmp_path / 'mug', tmp_path / 'run')
    program('mug', made.make_mug(tmp_path / 'more', sessions=True), tmp_path / 'unseen', '--unseen', '--size', 32)
    train, test = (Clips(tmp_path / 'unseen', side) for side in ('train', 'test'))
    assert not set(train.labels['subject']) & set(test.labels['subject']) and train.frame_shape == (3, 32, 32)

def test_taichi_hd(tmp_path, monkeypatch):
    folder = made.make_taichi(tmp_path / 'files')
    program('taichi_hd', folder, tmp_path / 'taichi')
    data = Clips(tmp_path / 'taichi')
    # the second chunk, its box at twice the size of the video
    i = int(np.flatnonzero(data.labels['id'] == 'u6rJiF-gPx8#000024#000048')[0])
    assert apart(cropped(performance(0, 1), None, 64), data.clip(i)) < 4
    trained(monkeypatch, 'taichi_hd', tmp_path / 'taichi', tmp_path / 'run')
    cut = tmp_path / 'cut'  # the same, cut already: videos to train, folders of PNGs to test
    for k in range(2):
        write_video(cut / 'train' / f'abc#{k:06d}#000024.mp4', performance(k))
        write_images(cut / 'test' / f'xyz#{k:06d}#000024', performance(k, 1), '{:07d}.png')
    program('taichi_hd', cut, tmp_path / 'cut_clips')
    assert apart(cropped(performance(1, 1), None, 64), Clips(tmp_path / 'cut_clips', 'test').clip(1)) <= 1

def encode_latents(clips, out, stage): # -> out
    command = [sys.executable, root / 'data_prep/encode_latents.py', clips, '--out', out, '--first_stage', stage]
    done = subprocess.run([*command, '--batch', '5'], env=ENV, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out

def test_voxceleb_to_latents(tmp_path, monkeypatch):
    diffusers = pytest.importorskip('diffusers')
    folder = made.make_voxceleb(tmp_path / 'files')
    program('voxceleb', folder, tmp_path / 'vox')
    train, test = Clips(tmp_path / 'vox'), Clips(tmp_path / 'vox', 'test')
    assert set(train.labels['speaker']) == {'id10001', 'Adam_Driver'}
    assert set(test.labels['speaker']) == {'id10270', 'id10271', 'Eartha_Kitt'}  # 40 of the real ones
    i = int(np.flatnonzero(train.labels['id'] == 'id10001/1zcIwhmdeo1/00002')[0])
    assert train.frame_shape == (3, 256, 256) and train.lengths[i] == 11  # 64 frames at 25 a second: every sixth
    assert apart(cropped(performance(0, 1, 16, 128)[np.arange(0, 64, 6) // 4], None, 256), train.clip(i)) < 4
    pixels = Settings(dataset='voxceleb', data_dir=str(tmp_path / 'vox'), run=str(tmp_path / 'no'), steps=1)
    assert 'works on latents' in refusal(lambda: Experiment(pixels, verbose=False))
    torch.manual_seed(0)
    blocks = dict(down_block_types=['DownEncoderBlock2D'] * 4, up_block_types=['UpDecoderBlock2D'] * 4)
    sizes = dict(block_out_channels=[8] * 4, layers_per_block=1, norm_num_groups=4)
    stage = diffusers.VQModel(**blocks, **sizes, latent_channels=4, num_vq_embeddings=16, vq_embed_dim=4)
    stage.save_pretrained(tmp_path / 'stage')
    out = tmp_path / 'voxceleb_latents'
    encode_latents(tmp_path / 'vox', out, tmp_path / 'stage')
    assert read_info(out)['made_from'] == dict(name='voxceleb', own=read_info(tmp_path / 'vox')['own'])
    latents = Clips(out)
    with torch.no_grad(): want = stage.eval().encode(train.clip(0).float() / 127.5 - 1).latents
    assert latents.frame_shape == (4, 32, 32) and latents.shards[0].dtype == np.float16
    assert (latents.clip(0).float() - want).abs().max() < 2e-3 * want.abs().max()
    every = torch.cat([latents.clip(i) for i in range(len(latents))]).double()
    mean, std = latents.normalisation
    assert np.allclose(mean, every.mean((0, 2, 3)), atol=1e-5)
    assert np.allclose(std, every.std((0, 2, 3), correction=0), atol=1e-5)
    assert read_info(out)['fingerprint'] == fingerprint(open_stage(tmp_path / 'stage'))
    found = trained(monkeypatch, 'voxceleb', out, tmp_path / 'run', frame=(4, 32, 32), latent=True)
    config = json.loads((tmp_path / 'run/config.json').read_text())
    assert config['first_stage'] == read_info(out)['fingerprint'] == fingerprint(open_stage(tmp_path / 'stage'))
    assert found['pixel_pairs'] == 2
    with Image.open(tmp_path / 'run/reconstruction.png') as seen: assert seen.width > 8 * 256 # images, not latents
    other = diffusers.VQModel.from_config(stage.config)
    other.save_pretrained(tmp_path / 'other')
    at = dict(dataset='voxceleb', data_dir=str(out), run=str(tmp_path / 'run'))
    resumed = dict(at, preset='tiny', resume=True, steps=4)
    def again(**changes): return refusal(lambda: Experiment(Settings(**resumed | changes), verbose=False))
    assert 'belongs to the first stage' in again(first_stage=str(tmp_path / 'other'))
    assert 'there is no such folder' in again(first_stage=str(tmp_path / 'none'))
    others = str(encode_latents(tmp_path / 'vox', tmp_path / 'others', tmp_path / 'other'))
    assert 'the data changed since' in again(data_dir=others)
    elsewhere = dict(run=str(tmp_path / 'new'), start=str(tmp_path / 'run'), resume=False)
    assert 'of latents of the first stage' in again(data_dir=others, **elsewhere)
    from diffsda.explorer import Swap, explore, open_session
    said = explore(tmp_path / 'run', 'voxceleb', str(tmp_path / 'others'), n=2).value
    assert 'trained on latents of the first stage' in said
    session = open_session(tmp_path / 'run', 'voxceleb', str(out), n=2, n_frames=4)
    assert session.render(Swap(0, 1), draft=True)[-1].clip.shape == (4, 3, 256, 256)
    shutil.rmtree(tmp_path / 'stage')
    blind = Settings(dataset='voxceleb', data_dir=str(out), preset='tiny', run=str(tmp_path / 'blind'), steps=1)
    assert Experiment(blind, verbose=False).stage is None # false colours then

def latents_of_noise(folder, mean): # ten clips, as encode_latents.py writes them
    folder.mkdir()
    values = np.random.default_rng(0).normal(np.reshape(mean, (4, 1, 1)), 1, (100, 4, 32, 32))
    shard = ShardWriter(folder / 'shard_00000.npy', (4, 32, 32), 'float16')
    shard.add(values)
    rows = [dict(id=str(k), shard=0, start=10 * k, length=10, split='train' if k < 8 else 'test') for k in range(10)]
    shards = [dict(file='shard_00000.npy', frames=100, sha256=shard.close())]
    info = dict(name='voxceleb_latents', modality='latent', frame=[4, 32, 32], rate=5, source='', licence='')
    finish(folder, rows, shards, info | dict(fingerprint='noise'), moments(values))

@pytest.mark.long
@pytest.mark.parametrize('preset', ['voxceleb', 'celebv_hq'])
def test_a_step_of_the_paper_s_models_on_latents(preset, tmp_path):
    "At full size: a gigabyte, and half a minute each."
    out, mean = tmp_path / 'latents', [.1, .2, .3, .4]
    latents_of_noise(out, mean)
    at = dict(dataset='voxceleb', data_dir=str(out), preset=preset, run=str(tmp_path / 'run'))
    e = Experiment(Settings(**at, batch_size=2, n_frames=2, steps=1), verbose=False)
    batch = e.model.prepare_batch(e.train_set.draw(np.random.default_rng(0), 2, 2))
    e.model.train()(*batch).mean().backward()
    assert sum(p.numel() for p in e.model.parameters()) > 1e8
    assert all(p.grad is not None and p.grad.isfinite().all() for p in e.model.parameters())
    assert np.allclose(e.model.config.mean, mean, atol=.05)

def test_the_notebook_trains_on_latents(tmp_path, monkeypatch):
    "Its pictures are images, in false colours where there is no first stage."
    latents_of_noise(tmp_path / 'latents', [0.] * 4)
    tiny = ModelConfig(**TINY, frame=(4, 32, 32), latent=True)
    monkeypatch.setitem(presets.PRESETS, 'tiny', Preset(tiny, dict(batch_size=2, n_frames=2, steps=2), 'tests'))
    small = dict(preset='tiny', pairs=2)
    space = run_cells('train', dataset='voxceleb', data_dir=tmp_path / 'latents', run=tmp_path / 'run', **small)
    assert [clip.shape[1] for clip in space['some']] == [3] * 4 and (tmp_path / 'run/swap.png').is_file()

def test_home_folder(tmp_path, monkeypatch):
    "`--out=~/faces` reaches us as it is written: a shell does not expand it."
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    program('cartoon', '~', '~/faces', '--train', 2, '--test', 2, '--size', 32)
    assert Clips('~/faces').frame_shape == (3, 32, 32) and not (tmp_path / '~').exists()

def test_cartoon_truth(tmp_path):
    program('cartoon', tmp_path, tmp_path / 'faces', '--train', 3, '--test', 3, '--size', 32)
    train, test = Clips(tmp_path / 'faces'), Clips(tmp_path / 'faces', 'test')
    assert train.lengths.tolist() == [24] * 3 and test.lengths.tolist() == [96] * 3
    pair = test.pairs(3)
    from diffsda.faces import render
    from diffsda.toys import sample_dynamic, sample_static, to_bytes
    every = to_bytes(render(sample_static(3, 0, 'test'), sample_dynamic(1, 0, 'test', 96)[0].expand(3, -1, -1), 32))
    for static, dynamic, truth in zip(*pair):
        def shown(clip): # who performs it
            return {i for i in range(3) if all((every[i] == f).flatten(1).all(1).any() for f in clip)}
        assert shown(static) == shown(truth) and len(shown(truth)) == 1 and not torch.equal(static, truth)

def test_celebv_hq(tmp_path, monkeypatch):
    folder = made.make_celebv(tmp_path / 'files')
    said = program('celebv_hq', folder, tmp_path / 'celebv', code=3)
    assert 'gone4ever.mp4: not there' in said and '2 clips' in said and '35,666' in said
    sides = [Clips(tmp_path / 'celebv', s) for s in read_info(tmp_path / 'celebv')['splits']]
    clips = {str(c.labels['id'][i]): (c, i) for c in sides for i in range(len(c))}
    c, i = clips['_0tf2n3rlJU_0'] # cut from its film: 0.8 to 1.6 s, box and margin, made square
    assert c.lengths[i] == 20 and sum(k.startswith(('appearance', 'action')) for k in c.labels) == 75
    assert c.labels['emotion'][i] == 'neutral+happy' and c.labels['action: chew'][i] == '1'
    by_hand = (92, 28, 100) # of 92 to 192, 27 to 129, the square
    film = scene(performance(1, 1, 20), at=(96, 30), ground=150)
    assert apart(cropped(film, by_hand, 256), c.clip(i)) < 5
    c, i = clips['M2Ohb0FAaJU_1'] # processed by the owners' script
    assert apart(cropped(performance(0, 1, 20, 128), None, 256), c.clip(i)) < 4
    more = made.make_celebv(tmp_path / 'more', clips=[f'aaaaaaaaaa{k}_0' for k in range(6)])
    for k in range(2, 6): write_video(more / 'processed' / f'aaaaaaaaaa{k}_0.mp4', performance(k, 0, 12, 128))
    program('celebv_hq', more, tmp_path / 'six', '--size', 64)
    assert read_info(tmp_path / 'six')['clips'] == 6
    rows = (tmp_path / 'six/clips.csv').read_text().replace(',train,', ',test,', 3) # so that there are two to swap
    (tmp_path / 'six/clips.csv').write_text(rows)
    trained(monkeypatch, 'celebv_hq', tmp_path / 'six', tmp_path / 'run')

@pytest.mark.parametrize('name', ['timit', 'librispeech', 'fsdd'])
def test_speech(name, tmp_path, monkeypatch):
    folder = getattr(fixtures_speech, f'make_{name}')(tmp_path / 'files')
    program(name, folder, tmp_path / name)
    memory, mapped = Speech(name, folder, 'test'), Clips(tmp_path / name, 'test')
    order = {str(Path(p).relative_to(folder)): i for i, p in enumerate(memory.labels['path'])}
    ids = list(map(str, mapped.labels['id']))
    assert len(memory) == len(mapped)
    assert all((mapped.clip(k) == memory.clip(order[i])).all() for k, i in enumerate(ids))
    assert mapped.labels['speaker'][0] == memory.labels['speaker'][order[ids[0]]]
    if name == 'librispeech': # one speaker with many utterances is not drawn more often than another
        folder = fixtures_speech.make_librispeech(tmp_path / 'more', speakers=[1], utterances=9)
        fixtures_speech.make_librispeech(folder, speakers=range(2, 8))
        program(name, folder, tmp_path / 'uneven')
        uneven, rng = open_dataset(name, 'train', str(tmp_path / 'uneven')), np.random.default_rng(0)
        drawn = [uneven.who[uneven.choose(rng, np.arange(len(uneven)), 64)] for _ in range(50)]
        assert abs(np.mean(np.array(drawn) == '1') - 1 / len(set(uneven.who))) < .03
    found = trained(monkeypatch, name, tmp_path / name, tmp_path / 'run', frame=(80,), backbone='mlp')
    assert 0 <= found['static_eer'] <= 1

def test_sprites(tmp_path, monkeypatch):
    sheets = make_sprite_sheets(tmp_path / 'sheets')
    commit = 'git init -q . && git add -A && git -c user.name=a -c user.email=a@b commit -qm sheets'
    subprocess.run(commit, shell=True, cwd=sheets, check=True)
    said = program('sprites', tmp_path / 'fetched', tmp_path / 'sprites', '--fetch', f'file://{sheets}', '--size', 16)
    assert '1296 clips (296 test, 1000 train)' in said
    data, want = Clips(tmp_path / 'sprites', 'test'), Sprites(sheets, 'test', 'character', size=16)
    who = {'-'.join(map(str, c)): i for i, c in enumerate(want.characters)}
    assert all((data.clip(k) == want.clip(who[str(i)])).all() for k, i in list(enumerate(data.labels['id']))[:20])
    static, dynamic, truth = data.pairs(8, 5)
    def find(frame): # -> (clip, moment) of a frame
        return [(k, int(t)) for k in range(len(data)) for t in (data.clip(k) == frame).all((1, 2, 3)).nonzero()[:1, 0]]
    def moments(clip): return [{t for _, t in find(f)} for f in clip[:2]]
    def shown(clip): return {k for k, _ in find(clip[0])}
    assert all(a & b for a, b in zip(moments(truth[0]), moments(dynamic[0])))
    assert shown(truth[0]) & shown(static[0])
    trained(monkeypatch, 'sprites', tmp_path / 'sprites', tmp_path / 'run', frame=(3, 16, 16), patch=2, enc_patch=2)

def test_own_films(tmp_path):
    "As a user would: no preset, no data_dir, from another folder."
    folder = made.make_films(tmp_path / 'my films')
    program('folder', folder, 'data/mine', '--faces', '--cuts', '--fps', 0, cwd=tmp_path, code=0)
    rows = table(tmp_path / 'data/mine/clips.csv')
    hers = [f'Ann, "the boss"/{n}' for n in ('dark.mkv', 'two scenes.mp4', 'two scenes.mp4#1', 'upright.mov')]
    assert sorted(r['id'] for r in rows if r['label'] == 'Ann, "the boss"') == hers
    assert {r['length'] for r in rows} == {'20'}
    command = ['diffsda-train', '--dataset', 'mine', '--steps', '3', '--batch_size', '2', '--pairs', '2']
    done = subprocess.run(command, cwd=tmp_path, env=ENV, capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / 'runs/mine/swap.png').exists(), done.stderr
    said = program('folder', folder, tmp_path / 'slow', '--fps', 5, code=3) # 1.2 and 0.8 seconds are too short then
    assert '6 frames, a clip needs 8' in said
    assert {r['length'] for r in table(tmp_path / 'slow/clips.csv')} == {'16'}
    sounds = fixtures_speech.make_librispeech(tmp_path / 'voices')
    said = program('folder', sounds, tmp_path / 'mine_too', '--sound', '--name', 'voices')
    assert '10 clips' in said and read_info(tmp_path / 'mine_too')['modality'] == 'sound'


# interrupted

@pytest.fixture(scope='module')
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp('films')
    for i in range(40):
        film = scene(performance(i % 9, i // 9, 24), ground=100 + i)
        write_video(folder / f'{i:02d}.mp4', np.concatenate([film] * 2))
    (folder / '17.mp4').write_bytes(b'')
    return folder

def test_killed_at_twenty_moments(films, tmp_path):
    "SIGKILL, again and again; what is there in the end is what one undisturbed run makes, byte for byte."
    program('folder', films, tmp_path / 'whole', code=3, stdin=None)
    out, chance, kills = tmp_path / 'killed', random.Random(0), 0
    command = [sys.executable, root / 'data_prep/folder.py', films, '--out', out, '--workers', '2']
    while kills < 20:
        one = subprocess.Popen(command, env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        began = time.time()
        while not (tmp_path / 'killed.part').exists() and one.poll() is None and time.time() < began + 30:
            time.sleep(.01)
        time.sleep(chance.uniform(0, .4))
        if one.poll() is None:
            one.kill()
            one.wait()
            kills += 1
        else: # it came through before the kill: from the start again
            one.wait()
            assert files(out) == files(tmp_path / 'whole')
            shutil.rmtree(out)
        assert not (out.exists() and check(out)) # never half a dataset under its name
    program('folder', films, out, code=3)
    assert files(out) == files(tmp_path / 'whole') and not (tmp_path / 'killed.part').exists()

def test_interrupted_with_ctrl_c(films, tmp_path):
    command = [sys.executable, root / 'data_prep/folder.py', films, '--out', tmp_path / 'out', '--workers', '1']
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    one = subprocess.Popen([*command, '--size', '256'], env=ENV, **pipes)
    while not list(tmp_path.glob('out.part/done/*')): time.sleep(.01)
    one.send_signal(signal.SIGINT)
    said = one.communicate(timeout=60)[1]
    assert one.returncode == 130 and 'the same command goes on' in said and not (tmp_path / 'out').exists()
    program('folder', films, tmp_path / 'out', '--fps', 5, code=1)
    program('folder', films, tmp_path / 'out', '--size', 256, code=3)
    assert 'is there already' in program('folder', films, tmp_path / 'out', code=1)
    program('folder', films, tmp_path / 'out', '--overwrite', '--fps', 5, code=3)
    assert read_info(tmp_path / 'out')['options']['fps'] == 5 and check(tmp_path / 'out') == []

PEAK = '''# run a program, then print the most memory (MB) that any of its workers held
import resource, runpy, sys
from pathlib import Path
sys.argv = sys.argv[1:]
sys.path.insert(0, str(Path(sys.argv[0]).parent))
try: runpy.run_path(sys.argv[0], run_name='__main__')
except SystemExit: pass
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
'''

def test_memory_stays_flat(tmp_path):
    "A worker that reads two minutes in HD holds no more than one that reads two seconds."
    def peak(n): # frames -> MB of the worker
        film = np.random.default_rng(0).integers(0, 255, (4, 180, 320, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
        write_video(tmp_path / str(n) / 'film.mp4', film[np.arange(n) // 8 % 4])
        options = [tmp_path / str(n), '--out', tmp_path / f'out{n}', '--workers', '1', '--fps', '0']
        command = [sys.executable, '-c', PEAK, root / 'data_prep/folder.py', *options]
        done = subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=300)
        assert read_info(tmp_path / f'out{n}')['frames'] == n, done.stderr
        return float(done.stdout.splitlines()[-1])
    short, long = peak(50), peak(400)
    assert long < 1500 and long < short + 150

@pytest.mark.parametrize('overwrite', [False, True])
@pytest.mark.parametrize('breath', range(1, 8))
def test_killed_in_its_last_breath(overwrite, breath, films, tmp_path, monkeypatch):
    "All is read, the folder is about to get its name; after a kill before any of these calls, the next start mends it."
    from diffsda import preparation as p
    sources = [p.Source(f'{i:02d}', str(films / f'{i:02d}.mp4')) for i in range(3)]
    info = dict(name='x', modality='video', frame=[3, 32, 32])
    def read(source):
        for part in Video(source.path).read(): yield cropped(part, None, 32)
    def make(out, **kw): return p.prepare(sources, read, tmp_path / out, info, workers=0, verbose=False, **kw)
    make('whole')
    if overwrite: make('out')
    calls, settle = [0], p.settle
    def dying(f):
        def g(*args, **kw):
            calls[0] += 1
            if calls[0] == breath: raise KeyboardInterrupt
            return f(*args, **kw)
        return g
    def last(*args):
        with monkeypatch.context() as m:
            for where, name in ((p.shutil, 'rmtree'), (p.os, 'replace'), (p.Path, 'unlink')):
                m.setattr(where, name, dying(getattr(where, name)))
            settle(*args)
    monkeypatch.setattr(p, 'settle', last)
    try: make('out', overwrite=overwrite)
    except KeyboardInterrupt: pass
    monkeypatch.setattr(p, 'settle', settle)
    try: make('out', overwrite=overwrite)
    except BadInput as e: assert 'is there already' in str(e)
    assert files(tmp_path / 'out') == files(tmp_path / 'whole')
    assert sorted(f.name for f in tmp_path.iterdir()) == ['out', 'whole']


# what lies in a folder, and what of it is named

def copies(folder, *names): # of one short film -> folder
    film = folder / names[0]
    write_video(film, scene(performance(0, 0, 10)))
    for name in names[1:]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(film, folder / name)
    return folder

def test_each_real_file_once(tmp_path):
    folder = copies(tmp_path / 'v', *(f'{who}/{k}.mp4' for who in ('ann', 'bob') for k in range(3)))
    (folder / 'ann/up').symlink_to('..')
    program('folder', folder, tmp_path / 'out', '--fps', 0, '--size', 16)
    rows = table(tmp_path / 'out/clips.csv')
    assert [r['id'] for r in rows] == [f'{who}/{k}.mp4' for who in ('ann', 'bob') for k in range(3)]

def test_labels_with_one_file_each(tmp_path):
    folder = copies(tmp_path / 'v', *(f'{who}/x.mp4' for who in 'abcdef'))
    program('folder', folder, tmp_path / 'out', '--size', 16, '--fps', 0)
    train, test = Clips(tmp_path / 'out'), Clips(tmp_path / 'out', 'test')
    assert (len(train), len(test)) == (4, 2) and test.pairs(2).static.shape[0] == 2

@pytest.mark.parametrize('n, code', [(1, 3), (2, 3), (3, 0)])
def test_too_few_to_test_on(n, code, tmp_path):
    said = program('folder', copies(tmp_path / 'v', *(f'{k}.mp4' for k in range(n))), tmp_path / 'out', '--fps', 0,
                   '--size', 16, code=code)
    assert ('to test on, a swap needs 2; add files' in said) == bool(code) and ('train on it' in said) != bool(code)

def test_what_is_not_read_is_named(tmp_path):
    folder = copies(tmp_path / 'v', '0.mp4', '1.mp4', '2.mp4')
    for name in ('a.heic', 'b.mp4.part', 'c.xyz', 'd.zip', 'e.wav', '0.srt', 'notes.txt', 'README'):
        (folder / name).write_bytes(b'x')
    program('folder', folder, tmp_path / 'out', '--fps', 0, '--size', 16, code=3)
    found = skipped(tmp_path / 'out')
    assert sorted(found) == ['a.heic', 'b.mp4.part', 'c.xyz', 'd.zip', 'e.wav']
    assert 'ffmpeg' in found['a.heic'] and 'did not end' in found['b.mp4.part'] and '--sound' in found['e.wav']

def test_images_of_several_suffixes_are_one_sequence(tmp_path):
    film = scene(performance(0, 0, 12))
    for k, frame in enumerate(film): write_images(tmp_path / 'v/s', [frame], f'{k}.{("png", "bmp", "tif")[k % 3]}')
    copies(tmp_path / 'v', '0.mp4', '1.mp4', '2.mp4')
    program('folder', tmp_path / 'v', tmp_path / 'out', '--fps', 0, '--size', 32)
    sides = [Clips(tmp_path / 'out', side) for side in ('train', 'test')]
    clip = next(c.clip(i) for c in sides for i in range(len(c)) if c.labels['id'][i] == 's')
    assert (clip.numpy() == cropped(film, None, 32)).all()

def test_a_name_that_is_not_utf8(tmp_path):
    folder = copies(tmp_path / 'v', '0.mp4', '1.mp4', '2.mp4')
    write_images(folder / 'pics', scene(performance(0, 0, 9)), '{}.png')
    with open(os.fsencode(folder / 'pics') + b'/4\xe4.jpg', 'wb') as f: f.write(b'damaged')
    ascii_only = ENV | {'LC_ALL': 'C', 'PYTHONIOENCODING': 'ascii'}
    command = [sys.executable, root / 'data_prep/folder.py', folder, '--out', tmp_path / 'out', '--fps', '0']
    done = subprocess.run(command, env=ascii_only, capture_output=True, text=True)
    assert done.returncode == 3 and 'Traceback' not in done.stderr, done.stderr
    assert list(skipped(tmp_path / 'out')) == ['pics'] and '4\\udce4.jpg' in skipped(tmp_path / 'out')['pics']

def test_films_that_never_change(tmp_path):
    for k in range(3): write_video(tmp_path / f'v/{k}.mp4', np.zeros((10, 64, 64, 3), np.uint8))
    said = program('folder', tmp_path / 'v', tmp_path / 'out', '--fps', 0, '--size', 16, code=3)
    assert 'all frames show the same' in said
    assert 'nothing to learn' in refusal(lambda: Clips(tmp_path / 'out').normalisation)

def test_a_file_for_a_folder(tmp_path):
    film = copies(tmp_path / 'v', '0.mp4') / '0.mp4'
    assert f'name the folder that holds it: {film.parent}' in program('folder', film, tmp_path / 'out', code=1)

def test_taichi_in_another_container(tmp_path):
    folder = made.make_taichi(tmp_path / 'files')
    chunks = [scene(performance(0, k, 24), at=(20 + 50 * k, 30)) for k in (0, 1)]
    write_video(folder / 'u6rJiF-gPx8.mkv', np.concatenate(chunks))
    (folder / 'u6rJiF-gPx8.mp4').unlink()
    (folder / '_L745tFFmCQ.mp4').rename(folder / '_L745tFFmCQ.mp4.part')
    program('taichi_hd', folder, tmp_path / 'out', '--size', 16, code=3)
    assert read_info(tmp_path / 'out')['clips'] == 2
    assert all('but _L745tFFmCQ.mp4.part is' in reason for reason in skipped(tmp_path / 'out').values())
