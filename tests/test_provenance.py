"""Derived data know what they were made from: latents, priors, readers. Nothing stale is used in silence."""
import json
from dataclasses import asdict
from pathlib import Path
import numpy as np
import pytest, torch
from diffsda.clips import ShardWriter, finish, moments, read_info
from diffsda.datasets import find_prepared, open_dataset, say
from diffsda.explorer import explore, open_session
from diffsda.factors import BadInput, Factors, refusal
from diffsda.files import fingerprint
from diffsda.model import DiffSDA
from diffsda.presets import ModelConfig
from diffsda.prior import Prior, make_prior
from diffsda.baselines import Baseline, baseline_config
from diffsda.reader import Reader, ReaderConfig
from diffsda.settings import configure, read_settings
from diffsda.training import data_facts
from diffsda.traversal import fit_components, load_components, save_components

root = Path(__file__).resolve().parents[1]
SIDES = ('train', 'train', 'test', 'test')

def prepare(folder, name, frame, modality='video', kind=np.uint8, seed=0, sides=SIDES, **info):
    "A prepared dataset of random clips of 8 frames."
    folder.mkdir(parents=True, exist_ok=True)
    rng, writer = np.random.default_rng(seed), ShardWriter(folder / 'shard_00000.npy', frame, kind)
    frames = (rng.random((8 * len(sides), *frame)) * (255 if kind is np.uint8 else 1)).astype(kind)
    writer.add(frames)
    shard = dict(file='shard_00000.npy', frames=len(frames), sha256=writer.close())
    rows = [dict(id=f'clip{i}', shard=0, start=8 * i, length=8, split=side, label=i) for i, side in enumerate(sides)]
    about = dict(name=name, modality=modality, frame=list(frame), rate=25, source='', licence='', **info)
    finish(folder, rows, [shard], about, moments(frames))
    return folder

@pytest.fixture
def mine(tmp_path, monkeypatch):
    "Images and latents of one name, where an experiment looks for them."
    monkeypatch.chdir(tmp_path)
    images = prepare(tmp_path / 'data/mine', 'mine', (3, 64, 64))
    made_from = dict(name='mine', own=read_info(images)['own'])
    latents = prepare(tmp_path / 'data/mine_latents', 'mine_latents', (4, 16, 16), 'latent', np.float16,
                      made_from=made_from, first_stage='vq', fingerprint='f')
    return images, latents


# latents

def test_latents_of_these_images_are_taken(mine, capfd):
    images, latents = mine
    say.cache_clear()
    assert find_prepared('mine') == latents and open_dataset('mine', 'train').frame_shape == (4, 16, 16)
    said = capfd.readouterr().err
    assert said == 'data/mine_latents is taken; for the images: -p data_dir data/mine\n'     # once
    for word in (str(images), 'data/mine'):
        assert open_dataset('mine', 'train', word).frame_shape == (3, 64, 64)
        config = configure(read_settings(dict(dataset='mine', data_dir=word)))[0]
        assert config.frame == (3, 64, 64) and not config.latent
    config = configure(read_settings(dict(dataset='mine')))[0]
    assert config.frame == (4, 16, 16) and config.latent

@pytest.mark.parametrize('change, words', [
    (dict(sides=(*SIDES, 'train')), '4 clips of 32 frames in all then, 5 clips of 40 frames in all now'),
    (dict(seed=1), '4 clips of 32 frames in all, but not the same ones')])
def test_latents_of_other_images_are_refused(mine, change, words):
    images, latents = mine
    prepare(images, 'mine', (3, 64, 64), **change)                                            # folder.py B --overwrite
    for where in ('', latents):
        for act in (lambda: open_dataset('mine', 'test', where),
                    lambda: configure(read_settings(dict(dataset='mine', data_dir=str(where))))):
            said = refusal(act)
            assert words in said and 'encode_latents.py data/mine --first_stage vq' in said and '--overwrite' in said
            assert '-p data_dir data/mine' in said
    assert open_dataset('mine', 'test', 'data/mine').frame_shape == (3, 64, 64)               # as the sentence says

def test_latents_of_an_earlier_version(mine):
    "They do not say what they were made from; the counts must agree."
    images, latents = mine
    prepare(latents, 'mine_latents', (4, 16, 16), 'latent', np.float16)
    assert find_prepared('mine') == latents
    prepare(images, 'mine', (3, 64, 64), sides=SIDES[:3])
    assert 'made from other clips' in refusal(lambda: find_prepared('mine'))

def test_latents_without_their_images_and_names_alike(mine, tmp_path):
    images, latents = mine
    images.rename(tmp_path / 'elsewhere')
    assert find_prepared('mine') == latents                                                   # nothing to compare with
    prepare(tmp_path / 'data/a', 'a', (3, 8, 8))
    both = prepare(tmp_path / 'data/a_latents', 'a_latents', (3, 16, 16), seed=2)              # images of such a name
    assert find_prepared('a') == both


# priors, components, readers

TINY = ModelConfig(frame=(3, 16, 16), base=16, mults=(1, 2), n_res=1, attn=(), patch=8, hidden=16, s_dim=4, d_dim=2,
                   enc_base=16, enc_mults=(1, 1), enc_attn=(), n_steps=2)
def tiny_model(): return DiffSDA(TINY).eval()

@pytest.fixture(scope='module')
def family(tmp_path_factory):
    "Two models, a prior of the first, and its components in a file."
    torch.manual_seed(0)
    model, other = tiny_model(), tiny_model()
    prior = make_prior(model, Factors(torch.randn(20, 4), torch.randn(20, 8, 2)), hidden=8, T=20, n_steps=2)
    path = tmp_path_factory.mktemp('family') / 'components.safetensors'
    save_components(fit_components(model, prior, n=40, k=2), path, fingerprint(model), fingerprint(prior))
    return model, other, prior, path

def test_a_prior_of_another_model(family):
    model, other, prior, path = family
    assert model.generate(prior, 1).shape == (1, 8, 3, 16, 16)
    for act in (lambda: other.generate(prior, 1), lambda: other.resample(prior, torch.rand(1, 8, 3, 16, 16)),
                lambda: fit_components(other, prior, n=40)):
        said = refusal(act)
        assert 'another model' in said and prior.config.encoder in said and fingerprint(other) in said

def test_components_of_another_prior_or_model(family):
    model, other, prior, path = family
    found = load_components(path, model, prior)
    assert len(found['static']) == 2
    again = make_prior(model, Factors(torch.randn(20, 4), torch.randn(20, 8, 2)), hidden=8, T=20, n_steps=2)
    assert 'components of another model' in refusal(lambda: load_components(path, other))
    assert 'components of another prior' in refusal(lambda: load_components(path, model, again))

def test_a_reader_of_other_labels(tmp_path):
    there = root / 'checkpoints/cartoon_reader'
    about = json.loads((there / 'config.json').read_text())
    (tmp_path / 'model.safetensors').symlink_to(there / 'model.safetensors')
    for labels in ('hair: red, black', '; '.join(reversed(ReaderConfig().labels.split('; ')))):
        (tmp_path / 'config.json').write_text(json.dumps(about | dict(labels=labels)))
        assert 'the reader was trained on others' in refusal(lambda: Reader.from_pretrained(tmp_path))

def test_folders_of_another_kind(family, tmp_path):
    model, other, prior, path = family
    prior.save_pretrained(tmp_path / 'prior')
    model.save_pretrained(tmp_path / 'model')
    Baseline(baseline_config('dbse', width=8, g=8, rnn=8)).save_pretrained(tmp_path / 'baseline')
    for kind, cls, folder in (('prior', DiffSDA, tmp_path / 'prior'), ('DiffSDA', Prior, tmp_path / 'model'),
                              ('reader', DiffSDA, root / 'checkpoints/cartoon_reader'),
                              ('judge', Reader, root / 'checkpoints/cartoon_judge'),
                              ('network of cartoon faces', DiffSDA, root / 'checkpoints/cartoon_points'),
                              ('baseline', DiffSDA, tmp_path / 'baseline'),
                              ('first stage', DiffSDA, root / 'checkpoints/cartoon_vq')):
        said = refusal(lambda: cls.from_pretrained(folder))
        assert f'the folder of a {kind}' in said and 'load it with' in said


# the explorer shows the clips of the run

@pytest.fixture
def run(family, tmp_path, monkeypatch):
    "runs/own, trained on data/own from this folder."
    monkeypatch.chdir(tmp_path)
    data = prepare(tmp_path / 'data/own', 'own', (3, 16, 16), sides=('train',) * 3 + ('test',) * 3)
    folder = tmp_path / 'runs/own'
    family[0].save_pretrained(folder)
    facts = {k: v for k, v in data_facts(open_dataset('own', 'train', data)).items() if k != 'sample'}
    (folder / 'run.json').write_text(json.dumps(dict(settings=dict(dataset='own', data_dir='data/own'), data=facts)))
    return folder

@pytest.fixture
def own(run, family): # the same, with a prior and its components
    family[2].save_pretrained(f'{run}_prior')
    (Path(f'{run}_prior') / 'components.safetensors').write_bytes(family[3].read_bytes())
    return run

def test_the_explorer_shows_the_data_of_the_run(own, tmp_path, monkeypatch):
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    test = open_dataset('own', 'test', tmp_path / 'data/own')
    session = open_session('../runs/own')
    assert len(session.clips) == 3 and torch.equal(session.clips[2], test.clip(2, 8))
    assert fingerprint(session.prior) == fingerprint(Prior.from_pretrained(f'{own}_prior'))
    monkeypatch.setenv('HOME', str(tmp_path))
    assert torch.equal(open_session('~/runs/own').clips, session.clips)

def test_the_explorer_refuses_data_that_changed_or_moved(own, tmp_path):
    data = tmp_path / 'data/own'
    prepare(data, 'own', (3, 16, 16), seed=1, sides=('train',) * 3 + ('test',) * 3)
    said = refusal(lambda: open_session(own))
    assert 'have changed' in said and "data_dir='data/own'" in said
    assert len(open_session(own, data_dir=data).clips) == 3                                   # as the sentence says
    data.rename(tmp_path / 'moved')
    assert 'data lay in data/own' in refusal(lambda: open_session(own))
    assert len(open_session(own, data_dir=tmp_path / 'moved').clips) == 3

def test_the_explorer_refuses_a_model_that_does_not_say_its_data(own):
    (own / 'run.json').unlink()
    said = refusal(lambda: open_session(own))
    assert 'on which data it was trained' in said and 'runs/own' in said
    assert 'on which data' in explore(own).value
    assert len(open_session(own, dataset='own').clips) == 3

def test_the_explorer_refuses_components_of_another_prior(own, family):
    torch.manual_seed(3)
    again = make_prior(family[0], Factors(torch.randn(20, 4), torch.randn(20, 8, 2)), hidden=8, T=20, n_steps=2)
    again.save_pretrained(f'{own}_prior')
    assert 'components of another prior' in refusal(lambda: open_session(own))
