"""How fast this machine is, how many threads serve, and whether a run was long enough."""
import json
from types import SimpleNamespace
import pytest, torch
import under_fire # a preset of that name, small
from diffsda.experiment import Experiment
from diffsda.pace import (FIRST_SWAP, choose_precision, choose_threads, first_swap, forecast, seconds_per_step,
                          thread_counts, verdict)
from diffsda.model import DiffSDA
from diffsda.presets import PRESETS
from diffsda.settings import Settings, configure

@pytest.fixture
def pass_time(monkeypatch): # -> function that makes a clock go on
    now = [0.]
    monkeypatch.setattr('diffsda.pace.time', SimpleNamespace(monotonic=lambda: now[0]))
    def go(seconds): now[0] += seconds
    return go

def test_the_median_of_a_few_steps(pass_time):
    took = iter([.2, .01, .01, .1, .01, .01] + [.01] * 9)   # the first is not counted, one is disturbed
    assert seconds_per_step(lambda: pass_time(next(took)), seconds=.1) == pytest.approx(.01)

@pytest.mark.parametrize('speed, best', [({4: .005, 2: .01, 1: .02}, 4), ({4: .03, 2: .005, 1: .01}, 2),
                                         ({4: .08, 2: .03, 1: .005}, 1)], ids=['free', 'half busy', 'busy'])
def test_the_fastest_number_of_threads_is_kept(speed, best, pass_time):
    now = []
    measured = choose_threads(lambda: pass_time(speed[now[-1]]), [4, 2, 1], now.append)
    assert now[-1] == best and min(measured, key=measured.get) == best

@pytest.mark.parametrize('speed, best', [({'no': 1., 'bf16': .5}, 'bf16'), ({'no': 1., 'bf16': .95}, 'no'),
                                         ({'no': 1., 'bf16': 4.}, 'no')], ids=['fast', 'no gain', 'slow'])
def test_the_faster_precision_is_chosen(speed, best):
    model, times, lines = DiffSDA(PRESETS['under_fire'].model).train(), iter(speed.values()), []
    assert choose_precision(model, torch.rand(2, 2, 3, 16, 16), lines.append, lambda step: next(times)) == best
    assert lines == [f'float32: {speed["no"]:.2g} s, bfloat16: {speed["bf16"]:.2g} s for 2 clips; training in '
                     f'{"bfloat16" if best == "bf16" else "float32"} (precision={best})']

def test_what_is_timed_is_really_bfloat16(monkeypatch):
    model, seen = DiffSDA(PRESETS['under_fire'].model).train(), []
    model.denoiser.backbone.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled('cpu')))
    def once(step): step(); return 1.
    choose_precision(model, torch.rand(2, 2, 3, 16, 16), None, once)
    assert seen == [False, True]

def test_a_resumed_run_keeps_its_precision(tmp_path, monkeypatch):
    said = dict(preset='under_fire', n_clips=12, pairs=2, run=str(tmp_path / 'run'))
    for steps, answer in ((2, 'bf16'), (3, 'no')): # the second time the other one would be faster
        monkeypatch.setattr('diffsda.experiment.choose_precision', lambda *_: answer)
        e = Experiment(Settings(**said, steps=steps, resume=steps == 3), verbose=False).train()
        assert e.config.precision == e.trainer.accelerator.mixed_precision == 'bf16'
        ran = json.loads((tmp_path / 'run/run.json').read_text())
        assert ran['train']['precision'] == 'bf16' and ran['settings']['precision'] == 'auto'

def test_numbers_of_threads_to_try():
    assert [thread_counts(n) for n in (1, 2, 6, 16)] == [[1], [2, 1], [6, 3, 1], [16, 8, 4, 2, 1]]

def test_forecasts():
    assert forecast(.1, 300, 5000, 40) == ('a first recognisable swap on data like these: about 300 steps, 30 seconds '
        'here; this run: 5,000 steps, about 8 minutes (stops after 40 minutes at the latest)')
    busy = forecast(4., 300, 5000, 40)   # 600 steps in 40 minutes
    assert 'about 300 steps, 20 minutes here' in busy and 'would take 5.6 hours' in busy
    assert 'stops after 40 minutes, at about 600 steps; go on with resume' in busy
    assert forecast(.1, 300, 0, 8).endswith('this run: 8 minutes, about 4,800 steps')
    assert forecast(.1, 300, 5000, 0, done=4400).endswith('this run: 5,000 steps, about 60 seconds')

def test_the_demo_on_a_busy_machine_is_not_called_a_result():
    "111 steps in eight minutes, as it happened: coloured noise."
    said = verdict(111, 300, 1.21)
    assert not said['enough'] and said['note'].startswith('NOT TRAINED ENOUGH: 111 steps were trained')
    assert 'steps=300' in said['note']
    assert verdict(5000, 300, .33) == verdict(300, 300) == dict(enough=True, note='')
    assert not verdict(299, 300)['enough'] and not verdict(5000, 300, .76)['enough']

def test_every_preset_has_a_mark_and_a_budget_in_steps():
    for name, preset in PRESETS.items():
        assert first_swap(preset.model.frame, name) in FIRST_SWAP.values()
        train = preset.train
        assert 'epochs' in train or (train['steps'] > 0 and train['minutes'] > 0), name

def test_a_given_budget_replaces_that_of_the_preset():
    def budget(**given):
        train = configure(Settings(**given))[1]
        return train['steps'], train['minutes']
    assert budget() == (5000, 40.) and budget(steps=7) == (7, 0.) and budget(minutes=3.) == (0, 3.)

def test_a_run_that_was_too_short_says_so(tmp_path, capsys):
    settings = Settings(preset='under_fire', n_clips=12, pairs=2, steps=2, run=str(tmp_path / 'run'))
    experiment = Experiment(settings, verbose=False)
    before = [b.clone() for b in experiment.model.buffers()]
    experiment.set_pace()   # measures real steps, and leaves nothing of them
    assert all(torch.equal(a, b) for a, b in zip(before, experiment.model.buffers()))
    assert all(p.grad is None for p in experiment.model.parameters())
    experiment.train().measure(verbose=False)
    experiment.summary()
    left = json.loads((tmp_path / 'run/metrics.json').read_text())
    assert left['enough'] is False and 'NOT TRAINED ENOUGH: 2 steps' in left['note']
    assert left['note'] in capsys.readouterr().out
    pace = json.loads((tmp_path / 'run/run.json').read_text())['pace']
    assert pace['first_swap'] == 300 and pace['seconds_per_step'] > 0 and pace['threads'] >= 1
