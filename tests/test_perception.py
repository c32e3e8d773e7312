"""AED and AKD on hand-made detections, beyond what nbs/62_perception.ipynb shows."""
from pathlib import Path
import numpy as np
import pytest
import torch
from diffsda.factors import refusal
from diffsda.perception import (CartoonIdentity, CartoonPoints, FrameNetConfig, Seen, aed, akd, blur, identity_distance,
                                keypoint_distance, no_faces, see, summarise)

class Fake:
    "Finds a face where a frame is not dark; its point is the brightest pixel, its vector the mean colour."
    name, version = 'fake', '1'
    def landmarks(self, frames):
        flat = frames.mean(1).flatten(1)
        at = flat.argmax(1)
        return torch.stack([at % frames.shape[-1], at // frames.shape[-1]], -1)[:, None].float(), flat.amax(1) > .1
    def embed(self, frames): return frames.mean((2, 3)), frames.flatten(1).amax(1) > .1

def dots(xy, size=16): # list of clips of (x, y), or None for a dark frame
    clips = torch.zeros(len(xy), len(xy[0]), 3, size, size)
    for i, clip in enumerate(xy):
        for t, p in enumerate(clip):
            if p is not None: clips[i, t, :, p[1], p[0]] = 1
    return clips

truth = dots([[(1, 1), (2, 2), (3, 3), (4, 4)], [(5, 5), (6, 6), (7, 7), (8, 8)]])
moved = dots([[(4, 5), (5, 6), (6, 7), (7, 8)], [(8, 9), (9, 10), (10, 11), (11, 12)]])
lost = dots([[(4, 5), None, (6, 7), None], [None] * 4])

def seen(clips, what='landmarks'): return see(Fake(), what, clips)

def test_shift_of_three_and_four():
    assert akd(seen(truth), seen(moved)).mean == 7 and akd(seen(truth), seen(moved), 'paper').mean == 3.5
    assert akd(seen(truth), seen(truth)).mean == 0 == aed(seen(truth, 'embed'), seen(truth, 'embed')).mean

def test_lost_faces_do_not_help():
    sound = akd(seen(truth), seen(lost))
    assert sound.mean == 7 and sound.found_output == .25 and sound.bound == 7 and np.isnan(sound.clips[1].item())
    assert akd(seen(truth), seen(lost), 'paper', swap=True).mean == 3.5                # left out in a swap
    assert akd(seen(truth), seen(lost), 'paper', swap=False).mean == 3.5 * 2 / 4 / 2   # 0 in a reconstruction

def test_a_dark_output_is_perfect_for_the_authors_only():
    dark = see(Fake(), 'embed', torch.zeros_like(truth))
    assert aed(seen(truth, 'embed'), dark, 'paper').mean == 0
    ours = aed(seen(truth, 'embed'), dark)
    assert np.isnan(ours.mean) and np.isnan(ours.bound) and ours.found_output == 0 and ours.found_truth == 1

def test_the_bound_by_hand():
    values, yes = torch.tensor([[1., 9, 5, 5]]), torch.ones(1, 4) > 0
    d = summarise(values, yes, torch.tensor([[True, True, False, False]]), 'x')
    assert d.mean == 5 and d.bound == (1 + 9 + 9 + 9) / 4

def test_joints_that_both_frames_show():
    p = torch.zeros(1, 2, 3, 2)
    q = p + torch.tensor([[[1., 1], [2, 2], [30, 30]]])
    here = torch.tensor([[[1, 1, 1], [1, 1, 1]]]) > 0
    there = torch.tensor([[[1, 1, 0], [0, 0, 0]]]) > 0 # the far joint is not found, nor any of the second frame
    d = akd(Seen(p, here, 'pose'), Seen(q, there, 'pose'))
    assert d.mean == 3 and d.found_truth == 1 and d.found_output == .5
    assert akd(Seen(p, here, 'pose'), Seen(q, there, 'pose'), 'paper', swap=False).mean == 1.5 # bodies: never 0

def test_squared_distances_of_bodies():
    a, b = torch.zeros(4), torch.tensor([1., 1, 1, 1])
    assert identity_distance(a, b) == 2 == identity_distance(a, b, 'paper')
    assert identity_distance(a, b, 'paper', squared=True) == 4
    assert keypoint_distance(torch.zeros(2, 2), torch.ones(2, 2), torch.tensor([True, False])) == 2

@pytest.mark.parametrize('act, words', [
    (lambda: see(Fake(), 'joints', truth), 'it has no joints'),
    (lambda: see(Fake(), 'embed', truth[0]), 'write clip[None]'),
    (lambda: see(Fake(), 'embed', truth * 300), 'clips: values from 0 to 300'),
    (lambda: akd(seen(truth), seen(truth[:1])), 'as the truth'),
    (lambda: akd(seen(truth), seen(truth)._replace(by='other 2')), 'use one detector for both'),
    (lambda: akd(seen(truth), seen(truth), 'papre'), "'sound' or 'paper'"),
    (lambda: FrameNetConfig(outputs=4, size=50), 'a multiple of 16')])
def test_one_sentence(act, words): assert words in refusal(act)

def test_frames_of_another_size_give_points_in_their_pixels():
    torch.manual_seed(0)
    net = CartoonPoints(FrameNetConfig(outputs=4, size=32, width=8)).eval()
    net.net[-1].bias.data[-1] = 100 # a face everywhere
    x = blur(torch.rand(2, 3, 32, 32), 3.)
    twice = torch.nn.functional.interpolate(x, scale_factor=2, mode='nearest')
    small, large = (net.landmarks(v)[0] for v in (x, twice))
    assert torch.allclose((small + .5) * 2, large + .5, atol=.5)

def test_not_found_is_nan():
    net = CartoonIdentity(FrameNetConfig(outputs=8, size=32, width=8)).eval()
    net.net[-1].bias.data[-1] = -100
    vectors, found = net.embed(torch.rand(3, 3, 32, 32))
    assert vectors.isnan().all() and not found.any()

def test_shuffled_patches_keep_their_pixels():
    rng, x = torch.Generator().manual_seed(0), torch.rand(8, 3, 32, 32)
    mixed = no_faces(x, rng)[4:6]
    assert torch.allclose(mixed.flatten(2).sort().values, x[4:6].flatten(2).sort().values)
    assert not torch.equal(mixed, x[4:6])

def test_blur_against_scipy():
    from scipy.ndimage import gaussian_filter
    x = torch.rand(1, 1, 24, 24)
    ours, theirs = blur(x, 2.)[0, 0], gaussian_filter(x[0, 0].numpy(), 2., mode='nearest', truncate=3.)
    assert np.abs(ours.numpy() - theirs).max() < 1e-5

# on photographs of people

people = Path(__file__).resolve().parents[2] / 'shared/data/faces_london/morph128'
weights = Path(__file__).resolve().parents[2] / 'shared/data/perception/face-api'

@pytest.fixture(scope='module')
def photographs():
    "24 people in five strengths of a smile, (24, 5, 3, 64, 64), and the network of faces."
    if not people.is_dir() or not weights.is_dir(): pytest.skip('no photographs here: ../shared/data')
    from PIL import Image
    from diffsda.detectors import FaceApi
    names = sorted({p.stem.split('_')[0] for p in people.glob('*.jpg')})[::4][:24]
    def frame(who, k):
        return np.array(Image.open(people / f'{who}_{k}.jpg').convert('RGB').resize((64, 64), Image.LANCZOS))
    clips = np.stack([[frame(who, k) for k in (0, 2, 4, 6, 8)] for who in names])
    return torch.from_numpy(clips).permute(0, 1, 4, 2, 3), FaceApi(weights)

def test_right_swaps_are_nearer_than_both_copies(photographs):
    "The smile of one person on another: the right answer is the other's own smile, in the strengths of the first."
    clips, net = photographs
    rise, fall = clips, clips.flip(1)           # the motion of x and of x hat
    x, x_hat, right_s = rise, fall.roll(1, 0), fall # who from x, motion from x hat
    vectors = {name: see(net, 'embed', c) for name, c in dict(x=x, x_hat=x_hat, right=right_s).items()}
    own, other = (aed(vectors['x'], vectors[k]) for k in ('right', 'x_hat'))
    assert own.found_output == 1 and (own.clips < other.clips).all() and other.mean > 2 * own.mean

def test_points_move_with_the_strength_of_a_smile(photographs):
    clips, net = photographs
    seen = see(net, 'landmarks', clips)
    still = seen._replace(values=seen.values[:, :1].expand_as(seen.values)) # every frame as the neutral one
    moved = keypoint_distance(still.values, seen.values, seen.found[..., None].expand(seen.values.shape[:-1])).mean(0)
    assert moved[0] == 0 and (moved.diff() > 0).all() and akd(still, seen).mean == pytest.approx(moved.mean().item())

def test_a_grey_clip_is_not_found(photographs):
    clips, net = photographs
    truth = see(net, 'embed', clips[:4])
    grey = see(net, 'embed', torch.full_like(clips[:4], 128))
    assert aed(truth, grey).found_output == 0 and aed(truth, grey, 'paper').mean == 0
    assert aed(truth, truth).mean == 0
