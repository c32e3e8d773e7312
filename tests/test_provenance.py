"""What is derived knows what it was made from: latents, priors, components, judges; and nothing stale is used in silence."""
import json
from dataclasses import asdict
from pathlib import Path
import numpy as np
import pytest, torch
from diffsda.clips import ShardWriter, finish, moments, read_info
from diffsda.datasets import find_prepared, open_dataset, say
from diffsda.factors import BadInput, refusal
from diffsda.settings import configure, read_settings

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
