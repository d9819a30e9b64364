"""A table on a Ray cluster: one of two cores on this machine."""

import sys
import threading

import pytest

from mmdet_rankkd.experiments.ray_pool import RayPool, run_in
from mmdet_rankkd.experiments.result import read_results
from mmdet_rankkd.experiments.sweep import run_table
from mmdet_rankkd.experiments.training import Job

from .conftest import SMALL
from .test_sweep import kill_first_worker


def test_a_killed_task_is_repeated(table, tmp_path):
    """And results are read as those of the local pool."""
    ray = pytest.importorskip('ray')
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    out, killed = tmp_path / 'out', []
    thread = threading.Thread(target=kill_first_worker, args=(out, killed))
    thread.start()
    cells = table.plan(rows=['KD'])
    try:
        run_table(table, cells, [0, 1], out, SMALL, ray='auto')
        (runs,) = read_results(out).values()
        assert set(runs) == {0, 1} and killed
        before = {s: r.minutes for s, r in runs.items()}
        options = [*SMALL, 'model.teacher.checkpoint=missing.pth']
        with pytest.raises(RuntimeError, match='missing.pth'):
            run_table(table, cells, [2], tmp_path / 'bad', options, ray='auto')
        # Done trainings are not repeated.
        run_table(table, cells, [0, 1], out, SMALL, ray='auto')
        (runs,) = read_results(out).values()
        assert {s: r.minutes for s, r in runs.items()} == before
    finally:
        killed.append(None)
        thread.join()
        ray.shutdown()


def test_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(RuntimeError, match=r'mmdet_rankkd\[ray\]'):
        RayPool('auto')


@pytest.mark.parametrize('address', ['127.0.0.1:9', 'localhost:x'])
def test_no_cluster_at_an_address(address):
    pytest.importorskip('ray')
    with pytest.raises(RuntimeError, match=f"no Ray cluster at '{address}'"):
        RayPool(address)


def test_a_machine_without_the_folder(tmp_path):
    job = Job('kd', 0, '', tmp_path, 'x')
    assert 'must share the current folder' in run_in('/no/such/folder', job)
