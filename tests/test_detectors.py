"""Detectors on real photographs, on frames without a face, and against an independent library; stand-ins for those
whose weights are not free."""
import hashlib, importlib.util, json, os, shutil, sys, types
from pathlib import Path
import numpy as np, pytest, torch
from PIL import Image
from torch.nn import functional as F
from diffsda import detectors
from diffsda.detectors import (BodyPose, Dlib, FaceAlignment68, FaceApi, OpenPoseBody, PersonReID, PoseNet, ResNet50,
                               VGGFace, best_box, crops, open_detector, peaks, square)
from diffsda.factors import BadInput, refusal
sys.path.insert(0, str(Path(__file__).parent))
from fixtures_people import MEDIAPIPE, person

root = Path(__file__).resolve().parent.parent
def there(*places): return next((Path(p) for p in places if p and Path(p).is_dir()), None)
weights = there(os.environ.get('DIFFSDA_PERCEPTION'), root/'data/perception', root.parent/'shared/data/perception')
london = there(root/'data/faces_london', root.parent/'shared/data/faces_london')
grid = there(root/'data/faces_grid/clips', root.parent/'shared/data/faces_grid/clips')
needs_weights = pytest.mark.skipif(not weights, reason='no weights of perception networks here')
needs_faces = pytest.mark.skipif(not (weights and london), reason='no weights, or no photographs (faces_london) here')
def needs(*modules):
    absent = [m for m in modules if not importlib.util.find_spec(m)]
    return pytest.mark.skipif(bool(absent), reason=f'not installed: {absent}')

@pytest.fixture(autouse=True)
def one_thread():
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)

@pytest.fixture(scope='module')
def faces(): return FaceApi(weights/'face-api')

def photographs(kind, size, n=None):
    files = sorted((london/kind).glob('*.jpg'))[:n]
    images = [np.asarray(Image.open(f).convert('RGB').resize((size, size), Image.BOX)) for f in files]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)

def stored(names, size): # points of landmarks.npz, which are for 256 x 256, in pixels of another size
    with np.load(london/'landmarks.npz') as z: points = np.stack([z[n] for n in names])
    return (torch.from_numpy(points).float() + .5) * size / 256 - .5

def eyes(points): return torch.stack([points[:, 36:42].mean(1), points[:, 42:48].mean(1)], dim=1)

def equal_error_rate(distances): # by hand: walk over all thresholds
    same, other = distances.diag(), distances[~torch.eye(len(distances), dtype=bool)]
    rates = [((same > t).double().mean(), (other <= t).double().mean()) for t in torch.cat([same, other]).sort().values]
    return min(max(r) for r in rates).item()


# --- real photographs

@needs_faces
@pytest.mark.parametrize('size', [256, 64])
def test_faces_of_all_people_are_found_and_told_apart(faces, size):
    people = [f.stem for f in sorted((london/'neutral').glob('*.jpg'))]
    assert len(people) == 102
    neutral, smiling = photographs('neutral', size), photographs('smiling', size)
    points, found = faces.landmarks(neutral)
    assert points.shape == (102, 68, 2) and points.dtype == torch.float32 and found.dtype == torch.bool
    pupils = stored([f'template_{i}' for i in people], size)[:, :2]                      # placed by hand
    unit = (pupils[:, 0] - pupils[:, 1]).norm(dim=1)
    assert ((eyes(points) - pupils).norm(dim=2).mean(1) / unit).mean() < .03             # measured: .0222, .0246
    reference = stored([f'neutral_{i}' for i in people], size)                           # of dlib
    inner = ((points - reference).norm(dim=2)[:, 27:] / unit[:, None]).mean()            # nose, eyes, mouth
    assert inner < .06                                                                   # measured: .038, .042
    assert abs(((points - reference) / unit[:, None, None]).mean((0, 1))[0]) < .01       # no shift to one side
    (one, found_one), (two, found_two) = faces.embed(neutral), faces.embed(smiling)
    assert torch.equal(found, found_one) and torch.cat([found_one, found_two]).float().mean() >= .99
    assert one.shape == (102, 128) and equal_error_rate(torch.cdist(one, two)) <= .005   # measured: .0002, .0003

@needs_faces
def test_identity_does_not_depend_much_on_the_size(faces):
    large, small = (faces.embed(photographs('neutral', size, 20))[0] for size in (256, 64))
    assert (large - small).norm(dim=1).max() < .6 * torch.pdist(large).mean()
    assert torch.equal(torch.cdist(small, large).argmin(1), torch.arange(20))

@needs_faces
def test_points_follow_the_face(faces):
    "Moved, mirrored, in a wide frame, as floats: the same points, as the geometry says."
    few = photographs('neutral', 256, 6)
    points, _ = faces.landmarks(few)
    unit = (eyes(points)[:, 0] - eyes(points)[:, 1]).norm(dim=1)
    def apart(other): return ((other - points).norm(dim=2).mean(1) / unit).max()
    assert apart(faces.landmarks(few.float() / 255)[0]) < 1e-3
    mirrored = faces.landmarks(few.flip(3))[0][:, detectors.MIRROR]
    assert apart(torch.stack([255 - mirrored[..., 0], mirrored[..., 1]], dim=-1)) < .03
    wide = F.pad(few, (60, 20), value=128)
    assert apart(faces.landmarks(wide)[0] - torch.tensor([60., 0])) < .03
    assert faces.boxes(wide)[1].all()

@needs_faces
def test_a_smile_is_read_more_surely_the_stronger_it_is(faces): # the owner's survey of the same network: 0.00 to 0.64
    files = [[london / f'morph128/{who}_{k}.jpg' for k in (0, 3, 5, 8)] for who in ('002', '005', '010', '011', '012')]
    pictures = [np.asarray(Image.open(f).convert('RGB')) for row in files for f in row]
    frames = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    said, found = faces.expressions(frames)
    happy = said[:, detectors.EXPRESSIONS.index('happy')].unflatten(0, (5, 4)).mean(0)
    assert found.all() and torch.allclose(said.sum(1), torch.ones(20)) and said.shape == (20, 7)
    assert (happy.diff() > 0).all() and happy[0] < .1 and happy[-1] > .4

@needs_faces
def test_rows_do_not_depend_on_the_batch(faces):
    few = photographs('smiling', 64, 5)
    few[2] = 128 # nobody there
    whole, found = faces.landmarks(few)
    assert found.tolist() == [True, True, False, True, True] and whole[2].isnan().all()
    single = torch.cat([faces.landmarks(f[None])[0] for f in few])
    assert torch.allclose(whole, single, atol=1e-2, equal_nan=True)
    vectors, seen = faces.embed(few)
    assert vectors[2].isnan().all() and torch.equal(found, seen) and vectors[found].isfinite().all()

@needs_weights
def test_nothing_is_found_where_nothing_is(faces):
    g = torch.Generator().manual_seed(1)
    small = [torch.rand(15, 3, k, k, generator=g) for k in (2, 4, 8, 16)]
    soft = [F.interpolate(x, (64, 64), mode='bicubic').clamp(0, 1) for x in small]
    sky = torch.linspace(.9, .4, 64)[:, None].expand(64, 64) # a landscape: sky, hills, a field
    hills = 36 + 6 * torch.sin(torch.arange(64) / 6.) + 3 * torch.sin(torch.arange(64) / 2.3)
    land = torch.arange(64)[:, None] > hills
    landscape = torch.where(land, torch.tensor([.3, .5, .2])[:, None, None], torch.stack([sky * .7, sky * .85, sky]))
    frames = torch.cat([torch.full((1, 3, 64, 64), .5), torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64),
                        torch.rand(15, 3, 64, 64, generator=g), landscape[None], *soft])
    points, found = faces.landmarks(frames)
    assert not found.any() and points.isnan().all()
    assert not faces.boxes(frames)[1].any() and faces.boxes(frames)[0].isnan().all()

@needs_weights
def test_photographs_without_faces(faces):
    images = pytest.importorskip('sklearn.datasets').load_sample_images().images # a temple, a flower
    for image in images:
        x = torch.from_numpy(image.copy()).permute(2, 0, 1)
        tiles = x.unfold(1, 128, 128).unfold(2, 128, 128).permute(1, 2, 0, 3, 4).flatten(0, 1)
        assert not faces.landmarks(tiles)[1].any()

@needs_faces
def test_blur_is_not_found_rather_than_wrong(faces):
    sharp = photographs('neutral', 64, 30)
    truth, _ = faces.landmarks(sharp)
    unit = (eyes(truth)[:, 0] - eyes(truth)[:, 1]).norm(dim=1)
    k = torch.arange(-12, 13)
    share = []
    for sigma in (1, 1.5, 2, 3):
        kernel = torch.exp(-k ** 2 / (2 * sigma ** 2)).expand(3, 1, 1, 25)
        x = F.conv2d(F.pad(sharp.float() / 255, [12] * 4, 'replicate'), kernel / kernel[0].sum(), groups=3)
        points, found = faces.landmarks(F.conv2d(x, (kernel / kernel[0].sum()).mT, groups=3).clamp(0, 1))
        error = (points - truth).norm(dim=2).mean(1) / unit
        assert (error[found] < .3).all()
        share.append(found.float().mean().item())
    assert share[0] > .9 and share[3] == 0 and sorted(share, reverse=True) == share

@needs_weights
@pytest.mark.skipif(not grid, reason='no clips (faces_grid) here')
def test_talking_heads(faces):
    "Every talker in every frame; two clips of one person are nearer than any two persons."
    av = pytest.importorskip('av')
    names, vectors = [], []
    for path in sorted(grid.glob('*.mp4')):
        with av.open(str(path)) as film:
            frames = [f.to_ndarray(format='rgb24') for k, f in enumerate(film.decode(video=0)) if k % 15 == 0]
        frames = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
        v, found = faces.embed(frames)
        assert found.all()
        small = F.interpolate(frames.float() / 255, (64, 64), mode='area')
        assert faces.landmarks(small)[1].float().mean() >= .8, path.stem
        names.append(path.stem)
        vectors.append(v.mean(0))
    d = torch.cdist(torch.stack(vectors), torch.stack(vectors)).fill_diagonal_(9)
    assert {names[i] for i in divmod(d.argmin().item(), len(d))} == {'id2_vcd_swwp2s', 'pwij3p'}

@needs_faces
@needs('dlib', 'face_recognition_models')
def test_agrees_with_dlib(faces):
    dlib, few = Dlib(), photographs('neutral', 64, 8)
    ours, theirs = faces.landmarks(few)[0], dlib.landmarks(few)[0]
    unit = (eyes(theirs)[:, 0] - eyes(theirs)[:, 1]).norm(dim=1)[:, None]
    assert ((ours - theirs).norm(dim=2) / unit)[:, 27:].mean() < .06
    stored_points = stored([f'neutral_{f.stem}' for f in sorted((london/'neutral').glob('*.jpg'))[:8]], 64)
    assert ((theirs - stored_points).norm(dim=2) / unit).mean() < .06 # its own points at 256, by the survey
    a, b = faces.embed(few[:3])[0], dlib.embed(few[:3])[0]           # the same network, in bytes and as it was
    assert (a - b).norm(dim=1).max() < .35 < torch.cdist(a, b)[~torch.eye(3, dtype=bool)].min()
    points, found = dlib.landmarks(torch.full((1, 3, 64, 64), .5))
    assert not found.any() and points.isnan().all() and dlib.version


# --- weights and files

def test_box_of_the_network_is_where_its_cell_is(monkeypatch):
    out = torch.full((1, 5, 5, 4, 4), -9.)
    out[0, 2, :, 1, 3] = torch.tensor([0., 0, 0, 0, 5]) # anchor 2, row 1, column 3
    monkeypatch.setattr(detectors, 'tiny_face', lambda w, x: out)
    box, score = best_box({}, torch.zeros(1, 3, 56, 112), 112) # 128 with its border of 8; 36 above and below
    centre = torch.tensor([3.5 * 32 - 8, 1.5 * 32 - 36])
    half = torch.tensor([2.882459, 3.518061]) * 32 / 2
    assert torch.allclose(box[0], torch.cat([centre - half, centre + half])) and score.item() > .99

def test_crops_are_area_exact():
    frames = torch.rand(2, 3, 40, 60)
    affine = square(torch.tensor([[20., 20], [40, 25]]), torch.tensor([20., 10]))
    assert torch.allclose(crops(frames, affine, 20)[0], frames[0, :, 10:30, 10:30], atol=1e-5)
    assert torch.allclose(crops(frames, affine, 10)[1], frames[1, :, 20:30, 35:45], atol=1e-5)

@needs_weights
def test_other_weights_are_refused(tmp_path):
    copy = tmp_path/'face-api'
    shutil.copytree(weights/'face-api', copy)
    for f in copy.iterdir(): f.chmod(0o644)
    raw = bytearray((copy/'face_landmark_68_model.bin').read_bytes())
    raw[100] ^= 1
    (copy/'face_landmark_68_model.bin').write_bytes(raw)
    assert 'another version' in refusal(lambda: FaceApi(copy))
    (copy/'face_landmark_68_model.bin').unlink()
    assert 'npm pack @vladmandic/face-api@1.7.15' in refusal(lambda: FaceApi(copy))

def test_missing_weights_and_packages_are_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv('DIFFSDA_PERCEPTION', str(tmp_path))
    monkeypatch.setenv('DEEPFACE_HOME', str(tmp_path))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    for name, word in (('face-api', 'npm pack'), ('body', 'mediapipe==0.10.21'), ('openpose', 'pose_model.pth'),
                       ('reid', 'ft_ResNet50'), ('vgg-face', 'deepface'), ('face-alignment', 'face_alignment')):
        sentence = refusal(lambda: open_detector(name))
        assert word in sentence and '\n' not in sentence
    assert 'no such file' in refusal(lambda: open_detector('openpose', tmp_path/'x.pth'))
    assert 'takes no file' in refusal(lambda: open_detector('dlib', 'x'))
    assert 'perhaps face-api' in refusal(lambda: open_detector('faceapi'))

@needs_weights
def test_open_by_name(monkeypatch):
    monkeypatch.setenv('DIFFSDA_PERCEPTION', str(weights))
    d = open_detector('face-api')
    assert d.version == open_detector('face-api', weights/'face-api').version
    assert d.name == 'face-api' and '1.7.15' in d.version

def test_frames_of_other_shapes_are_refused():
    read = lambda x: (x,)
    for odd in (torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8), torch.zeros(0, 3, 8, 8), torch.full((1, 3, 8, 8), 7.)):
        with pytest.raises(BadInput): detectors.in_batches(read, odd, 4)


# --- bodies

@needs_weights
@needs('ai_edge_litert')
def test_joints_of_a_drawn_person():
    pose = BodyPose(weights/'mediapipe/pose_landmark_lite.tflite')
    for size in (256, 64):
        frame, joints = person(size)
        points, found = pose.landmarks(frame[None])
        assert points.shape == (1, 33, 2) and found.shape == (1, 33) and found.float().mean() > .7
        error = [float((points[0, i] - torch.tensor(joints[n])).norm()) * 256 / size for n, i in MEDIAPIPE.items()]
        assert np.nanmean(error) < 10 # of 256 pixels; the ankles of a drawing are the worst
    still, raised = person()[0], person(left_elbow=(175, 62), left_wrist=(182, 30))[0]
    (a, b), _ = pose.landmarks(torch.stack([still, raised]))
    moved = (a - b).norm(dim=1)
    assert moved[13] > 20 and moved[[0, 12, 14, 23, 24, 25, 26]].nanmean() < 5 # the elbow; what did not move
    assert torch.allclose(pose.landmarks(still[None])[0][0], a, equal_nan=True)

@needs_weights
@needs('ai_edge_litert')
def test_nobody_has_no_joints():
    pose, g = BodyPose(weights/'mediapipe/pose_landmark_lite.tflite'), torch.Generator().manual_seed(0)
    frames = torch.cat([torch.full((1, 3, 64, 64), .5), torch.rand(8, 3, 64, 64, generator=g)])
    points, found = pose.landmarks(frames)
    assert found.float().mean() < .02 and points[~found].isnan().all()


# --- the paper's own, with stand-ins

def fake(monkeypatch, name, number, **inside):
    module = types.ModuleType(name)
    for k, v in inside.items(): setattr(module, k, v)
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(detectors, 'version', lambda pip: number)

class ImgNotFound(ValueError): pass

def test_deepface_is_called_as_the_authors_do(tmp_path, monkeypatch):
    calls = []
    def represent(image, **kw):
        calls.append((image, kw))
        if image.max() == 0: raise ImgNotFound('no face')
        return [dict(embedding=[1.] + [0.] * 4095)]
    fake(monkeypatch, 'deepface', '0.0.99', DeepFace=types.SimpleNamespace(represent=represent))
    monkeypatch.setenv('DEEPFACE_HOME', str(tmp_path))
    assert 'vgg_face_weights.h5' in refusal(VGGFace) and not calls # nothing is fetched
    (tmp_path/'.deepface/weights').mkdir(parents=True)
    (tmp_path/'.deepface/weights/vgg_face_weights.h5').write_bytes(b'weights')
    d = VGGFace()
    assert '0.0.99' in d.version and hashlib.sha256(b'weights').hexdigest()[:8] in d.version
    frames = torch.zeros(2, 3, 64, 48)
    frames[0, 0] = 1. # red
    vectors, found = d.embed(frames)
    image, kw = calls[0]
    assert image.dtype == np.uint8 and image.shape == (64, 48, 3) and image[0, 0].tolist() == [0, 0, 255] # BGR
    assert kw == dict(model_name='VGG-Face', detector_backend='opencv', align=True, enforce_detection=True, max_faces=1)
    assert found.tolist() == [True, False] and vectors.shape == (2, 4096) and vectors[1].isnan().all()
    def broken(image, **kw): raise ValueError('something else')
    d.deepface.DeepFace.represent = broken
    with pytest.raises(ValueError, match='something else'): d.embed(frames)
    fake(monkeypatch, 'deepface', '0.0.75')
    assert 'deepface==0.0.99' in refusal(VGGFace)

def test_face_alignment_is_called_as_the_authors_do(tmp_path, monkeypatch):
    made, calls = [], []
    class Net:
        def __init__(self, kind, **kw): made.append((kind, kw))
        def get_landmarks_from_image(self, image):
            calls.append(image)
            return None if image.max() == 0 else [np.full((68, 2), 3.), np.full((68, 2), 7.)] # two faces
    kinds = types.SimpleNamespace(TWO_D='2d')
    fake(monkeypatch, 'face_alignment', '1.4.1', FaceAlignment=Net, LandmarksType=kinds)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    assert '2DFAN4-cd938726ad.zip' in refusal(FaceAlignment68) and not made # nothing is fetched
    (tmp_path/'checkpoints').mkdir()
    for f in detectors.FAN_FILES: (tmp_path/'checkpoints'/f).write_bytes(f.encode())
    d = FaceAlignment68()
    frames = torch.zeros(2, 3, 64, 48)
    frames[0, 0] = 1.
    points, found = d.landmarks(frames)
    assert made == [('2d', dict(device='cpu', flip_input=False))] and '1.4.1' in d.version
    assert calls[0].dtype == np.uint8 and calls[0].shape == (64, 48, 3) and calls[0][0, 0].tolist() == [255, 0, 0] # RGB
    assert found.tolist() == [True, False] and (points[0] == 3).all() and points[1].isnan().all()

def test_peaks():
    maps = torch.zeros(1, 2, 8, 8)
    maps[0, 0, 2, 3], maps[0, 0, 6, 1], maps[0, 0, 6, 2] = .9, .2, .15
    maps[0, 1, 4, 4] = .05
    for protocol, where in (('sound', [3, 2]), ('paper', [1, 6])): # the last peak; its neighbour is no peak
        points, found = peaks(maps, protocol)
        assert points[0, 0].tolist() == where and found.tolist() == [[True, False]]

@pytest.fixture(scope='module')
def pose_file(tmp_path_factory):
    torch.manual_seed(0)
    net, path = PoseNet(), tmp_path_factory.mktemp('pose')/'pose_model.pth'
    torch.save({f'module.{k}': v for k, v in net.state_dict().items()}, path)
    return path

def test_openpose_reads_weights_and_puts_joints_where_the_maps_are(pose_file, monkeypatch):
    d = OpenPoseBody(pose_file)
    torch.manual_seed(0)
    assert torch.equal(d.net.model3_1[0].weight, PoseNet().model3_1[0].weight) and 'sound' in d.version
    seen = []
    def net(x): # a joint of every kind at one place of the frame, brightest in blue
        seen.append(x)
        out = F.avg_pool2d(x[:, :1] + .5, 8).repeat(1, 19, 1, 1)
        return out
    frame = torch.zeros(1, 3, 64, 64)
    frame[:, 2, 40:48, 16:24] = 1. # blue square: 16..23, 40..47
    monkeypatch.setattr(d.net, 'forward', net)
    points, found = d.landmarks(frame)
    assert found.all() and (points - torch.tensor([19.5, 43.5])).abs().max() < 3 # BGR: blue is the first channel
    assert [tuple(x.shape[2:]) for x in seen] == [(368, 368)] * 2 and seen[0].min() == -.5
    d.protocol = 'paper'
    seen.clear()
    points, found = d.landmarks(frame)
    assert sorted({x.shape[3] for x in seen}) == [184, 368, 552, 736, 920] and len(seen) == 10
    assert points.eq(points.round()).all() # whole pixels of the frame
    black, found = d.landmarks(torch.zeros(1, 3, 64, 64))
    assert not found.any() and black.isnan().all()

def test_openpose_mirrors_left_and_right(pose_file, monkeypatch):
    d = OpenPoseBody(pose_file)
    def net(x): # the right wrist (4) where it is bright on the left half of the frame, the left (7) on the right half
        bright = F.avg_pool2d(x[:, :1] + .5, 8)
        out = bright.new_zeros(len(x), 19, *bright.shape[2:])
        half = bright.shape[3] // 2
        out[:, 4, :, :half], out[:, 7, :, half:] = bright[:, 0, :, :half], bright[:, 0, :, half:]
        return out
    monkeypatch.setattr(d.net, 'forward', net)
    frame = torch.zeros(1, 3, 64, 64)
    frame[..., 8:16, 8:16] = 1.
    _, found = d.landmarks(frame)
    assert found[0, 4] and found.sum() == 1

@pytest.fixture(scope='module')
def reid_file(tmp_path_factory):
    torch.manual_seed(0)
    net, path = ResNet50(), tmp_path_factory.mktemp('reid')/'reid_model.pth'
    state = {f'model.{k}': v for k, v in net.state_dict().items()
             if not k.endswith('num_batches_tracked')} # an old file has none
    head = {'model.fc.weight': torch.zeros(1000, 2048), 'classifier.classifier.0.weight': torch.zeros(751, 512)}
    torch.save({**state, **head}, path)
    return path

def test_reid_as_trained_and_as_published(reid_file):
    sound, paper = PersonReID(reid_file), PersonReID(reid_file, protocol='paper')
    assert not sound.net.training and paper.net.training and sound.version != paper.version
    torch.manual_seed(1)
    frames = (torch.rand(3, 3, 64, 64) * 255).byte()
    vectors, found = sound.embed(frames)
    assert vectors.shape == (3, 2048) and found.all()
    seen = []
    hook = paper.net.register_forward_pre_hook(lambda net, x: seen.append(x[0]))
    together = paper.embed(frames)[0]
    hook.remove()
    assert [x.shape[0] for x in seen] == [1, 1, 1] # statistics of one frame at a time
    assert torch.allclose(together, torch.cat([paper.embed(f[None])[0] for f in frames.flip(0)]).flip(0), atol=1e-5)
    low, high = torch.stack(seen).amin((0, 1, 3, 4)), torch.stack(seen).amax((0, 1, 3, 4))
    assert abs(low[0] + 2.118) < 1e-3 and high[0] < -2.1005 # the red channel spans 1/255 of what it should
    assert torch.allclose(paper.embed(frames // 2 + 60)[0], together, atol=.5) and not torch.allclose(together, vectors)

def test_reid_resizes_as_pillow_does(reid_file):
    torch.manual_seed(1)
    small = F.interpolate(torch.rand(1, 3, 8, 8), (64, 64), mode='bilinear').mul(255).byte()
    d, seen = PersonReID(reid_file), []
    d.net.register_forward_pre_hook(lambda net, x: seen.append(x[0]))
    d.embed(small)
    mean, std = torch.tensor([.485, .456, .406])[:, None, None], torch.tensor([.229, .224, .225])[:, None, None]
    ours = (seen[0][0] * std + mean) * 255
    pillow = np.asarray(Image.fromarray(small[0].permute(1, 2, 0).numpy()).resize((144, 288), Image.BICUBIC))
    assert (ours - torch.from_numpy(pillow.copy()).permute(2, 0, 1)).abs().max() <= 1.01

def test_weights_of_another_kind_are_refused(pose_file, reid_file, tmp_path):
    assert 'other weights' in refusal(lambda: PersonReID(pose_file))
    assert 'other weights' in refusal(lambda: OpenPoseBody(reid_file))
    assert 'no such protocol' in refusal(lambda: OpenPoseBody(pose_file, protocol='papers'))
    (tmp_path/'a.pth').write_bytes(b'not weights')
    assert 'not a file of weights' in refusal(lambda: OpenPoseBody(tmp_path/'a.pth'))
    class Evil:
        def __reduce__(self): return print, ('executed',)
    torch.save({'model0.0.weight': Evil()}, tmp_path/'evil.pth')
    assert 'not a file of weights' in refusal(lambda: OpenPoseBody(tmp_path/'evil.pth'))

def test_resnet_is_that_of_torchvision():
    resnet50 = pytest.importorskip('torchvision.models', exc_type=ImportError).resnet50
    theirs, ours = resnet50(), ResNet50()
    state = {k: v for k, v in theirs.state_dict().items() if not k.startswith('fc.')}
    ours.load_state_dict(state)
    theirs.fc, x = torch.nn.Identity(), torch.rand(2, 3, 96, 64)
    for training in (True, False):
        with torch.no_grad(): assert torch.allclose(theirs.train(training)(x), ours.train(training)(x), atol=1e-4)
