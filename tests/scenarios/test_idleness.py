"""Claims about what pauses before requests teach: a planted curve is found, and none in noise."""

from __future__ import annotations

import numpy as np
import pytest

from core.scenario.calibration import Calibration
from core.scenario.calibration_file import from_toml, to_toml
from core.scenario.idling import Idling, pauses_of
from scenarios.idleness import idling_of


def samples(seed: int, n: int, longer: float) -> tuple[np.ndarray, np.ndarray]:
    """Return pauses of Poisson arrivals, and seconds that grow with them up to 30 ms."""
    rng = np.random.default_rng(seed)
    pauses = rng.exponential(0.03, n)
    return pauses, longer * np.minimum(pauses / 0.03, 1) + rng.gamma(2, 2e-4, n)


@pytest.mark.parametrize("seed", range(20))
def test_planted_curve_is_found(seed: int) -> None:
    found = idling_of(*samples(seed, 400, 0.001))
    assert list(found.longer) == sorted(found.longer)
    pauses = np.array([0.005, 0.015, 0.06])
    start = found.seconds(np.array([0.0]))
    assert found.seconds(pauses) - start == pytest.approx([1e-4, 4e-4, 9e-4], abs=2.5e-4)


def test_noise_teaches_nothing() -> None:
    assert sum(idling_of(*samples(seed, 400, 0.0)).after != () for seed in range(200)) <= 1


def test_few_samples_teach_nothing() -> None:
    assert idling_of(*samples(1, 74, 0.01)) == Idling()


def test_pause_is_that_since_the_request_before_whatever_their_order() -> None:
    assert pauses_of(np.array([3, 1, 2]) * 10**9).tolist() == [1.0, np.inf, 1.0]
    assert pauses_of(np.array([], dtype=np.int64)).size == 0


def test_curve_is_read_as_it_was_written_and_scaled_with_the_machine() -> None:
    idling = Idling(after=(0.001, 0.05), longer=(0.0, 0.00075))
    known = Calibration(idling=idling, speed=0.01)
    assert from_toml(to_toml(known)).idling == idling
    assert known.at_speed(0.02).idling.longer == (0.0, 0.0015)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('after = ["1ms"]\nlonger = []', "different lengths"),
        ('after = ["2ms", "1ms"]\nlonger = ["0ms", "1ms"]', "idle.after has to ascend"),
        ('after = ["1ms"]\nlonger = [1]', "idle.longer is"),
    ],
)
def test_curve_that_is_none_is_refused(lines: str, told: str) -> None:
    text = f'schema = "edgeproof/calibration"\nschema_version = 1\n[idle]\n{lines}\n'
    with pytest.raises(ValueError, match=told):
        from_toml(text)
