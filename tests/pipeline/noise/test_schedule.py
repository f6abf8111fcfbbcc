"""How much of a call lies behind: by its own steps, and by its noise where the caller chose these."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from stanchion.pipeline.noise.schedule import Schedule


def scheduler(*timesteps):
    return SimpleNamespace(timesteps=torch.tensor(timesteps, dtype=torch.float32))


def test_the_first_step_of_a_call_has_nothing_behind_it():
    own, schedule = scheduler(900, 700, 500, 300, 100), Schedule()
    assert [schedule.share(own, time) for time in (500, 300, 100)] == [(0, 0), (1 / 3, 1 / 3), (2 / 3, 2 / 3)]


def test_steps_that_take_no_noise_away_are_no_progress():
    own, schedule = scheduler(1000, 999, 998, 997, 500), Schedule(chosen=True)
    least, most = schedule.share(own, 1000)
    assert (least, most) == (0, 0)
    least, most = schedule.share(own, 997)
    assert least == pytest.approx(0.003) and most == pytest.approx(0.6)


def test_steps_where_no_noise_is_left_do_not_hold_it_up():
    own, schedule = scheduler(1000, 500, 3, 2, 1), Schedule(chosen=True)
    schedule.share(own, 1000)
    least, most = schedule.share(own, 500)
    assert least == pytest.approx(0.2) and most == pytest.approx(0.5)
