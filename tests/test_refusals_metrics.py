"What metrics, verification and the explorer refuse, and the sentences they refuse it with"
import json, shutil
from pathlib import Path
import numpy as np
import pytest
import torch
from diffsda.factors import BadInput, Factors, refusal
from diffsda.metrics import mse, r2
from diffsda.verification import all_pairs, eer, leakage, open_voices, probe, roc

root = Path(__file__).resolve().parents[1]

def test_two_shapes_are_not_broadcast():
    clip = torch.zeros(2, 3, 3, 4, 4)
    assert '(1, 3, 3, 4, 4)' in refusal(lambda: mse(clip, clip[:1]))
    assert 'one shape' in refusal(lambda: mse(clip, clip[0]))
    assert 'one shape' in refusal(lambda: r2(torch.zeros(5, 2), torch.zeros(5, 1)))

@pytest.mark.parametrize('scores, same, words', [
    ([1, 2], [1, 1], ('2 of 2 pairs', 'both kinds')),
    ([1, 2], [0, 0], ('0 of 2 pairs', 'both kinds')),
    ([1, np.nan], [1, 0], ('1 of 2 scores', 'not finite')),
    ([np.inf, 2, 3], [1, 0, 0], ('1 of 3 scores', 'not finite'))])
def test_pairs_without_an_error_rate(scores, same, words):
    for f in (roc, eer):
        said = refusal(lambda: f(scores, same))
        assert all(word in said for word in words), said

def test_a_vector_of_zeros_has_no_cosine():
    scores, same = all_pairs([[0, 0], [1, 0], [1, 1]], ['ann', 'ann', 'bob'])
    assert '2 of 3 scores' in refusal(lambda: eer(scores, same))

def test_too_few_examples_for_a_probe():
    said = refusal(lambda: probe(np.zeros((7, 2)), ['ann'] * 4 + ['bob'] * 3))
    assert '2 labels' in said and '[4, 3]' in said and 'two labels with 4 examples' in said
    assert set(probe(np.eye(8), ['ann', 'bob'] * 4)) == {'accuracy', 'chance'}

def test_rare_labels_are_left_out():
    x = np.vstack([np.eye(3)[[0] * 6 + [1] * 6], 9 * np.ones((3, 3))])
    found = probe(x, ['ann'] * 6 + ['bob'] * 6 + ['cat'] * 3)
    assert found == dict(accuracy=1., chance=.5)

def test_utterances_are_not_split():
    "A label that is known only by its utterance cannot be found when utterances stay whole."
    rng, names, utterances = np.random.default_rng(0), np.repeat(['a', 'b'], 40), np.repeat(range(8), 10)
    x = 5 * rng.standard_normal((8, 20))[utterances] + rng.standard_normal((80, 20)) # a direction for each utterance
    assert probe(x, names)['accuracy'] == 1 and probe(x, names, utterances)['accuracy'] < .9

class Encoder:
    def encode(self, clip): return Factors(clip.mean(1), clip[..., :2])

def test_leakage_asks_only_what_has_an_answer():
    torch.manual_seed(0)
    say = lambda content: [(torch.randn(20, 3) + k, f'speaker {k}', content(k, i)) for k in range(2) for i in range(4)]
    assert set(leakage(Encoder(), say(lambda k, i: ''), 10)) == {'speaker from s', 'speaker from d'}
    once = say(lambda k, i: f'{k} {i}')
    assert set(leakage(Encoder(), once, 10)) == {'speaker from s', 'speaker from d'}
    assert len(leakage(Encoder(), say(lambda k, i: f'word {i % 2}'), 10)) == 4
    assert leakage(Encoder(), say(lambda k, i: '')[:1], 10) == {}

@pytest.mark.parametrize('lost', ['run.json', 'metrics.json'])
def test_a_folder_that_is_no_run(tmp_path, lost):
    shutil.copytree(root / 'checkpoints/librispeech', tmp_path / 'run')
    (tmp_path / 'run' / lost).unlink()
    said = refusal(lambda: open_voices(tmp_path / 'run', 'vowels'))
    assert f'there is no {lost}' in said and 'diffsda-train' in said

def test_voices_need_a_model_of_sound():
    assert 'a model of pictures' in refusal(lambda: open_voices(root / 'checkpoints/cartoon64', 'vowels'))
    with pytest.raises(BadInput): open_voices(root / 'checkpoints/nothing', 'vowels')
