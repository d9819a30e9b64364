"""Workflows, hooks and the like name what exists, in the same versions."""

import re

import pytest
import yaml

from .helpers import ROOT

WORKFLOWS = sorted((ROOT / '.github/workflows').glob('*.yml'))
FORMS = sorted((ROOT / '.github/ISSUE_TEMPLATE').glob('*.yml'))


def read(path):
    return yaml.safe_load((ROOT / path).read_text())


def pins(name):
    """Versions by package of a file of requirements."""
    lines = (ROOT / f'requirements/{name}.txt').read_text().splitlines()
    return dict(x.split('==') for x in lines if '==' in x)


def make_targets():
    text = (ROOT / 'Makefile').read_text()
    return set(re.findall(r'^([a-z][\w-]*):', text, re.MULTILINE))


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda p: p.stem)
def test_workflows(path):
    """Targets of make and caches exist; nothing may write."""
    workflow = read(path)
    assert workflow['permissions'] == dict(contents='read')
    for job in workflow['jobs'].values():
        assert job['timeout-minutes'] <= 120
        include = job.get('strategy', {}).get('matrix', {}).get('include', [])
        named = {x['target'] for x in include}
        for step in job['steps']:
            for goals in re.findall(r'\bmake ([\w -]+)', step.get('run', '')):
                named |= set(goals.split())
            if 'uses' in step:
                assert re.fullmatch(r'actions/[\w-]+@v\d+', step['uses'])
        assert named <= make_targets()


def test_both_stacks_are_tested():
    jobs = read('.github/workflows/tests.yml')['jobs']
    stacks = [
        x['stack'] for x in jobs['tests']['strategy']['matrix']['include']
    ]
    assert set(stacks) == {'onedl', 'openmmlab'}
    goals = (ROOT / '.ci/run').read_text()
    for goal in ('lint', 'test', 'test-openmmlab', 'docs', 'test-docs'):
        assert re.search(rf'^make .*\b{goal}\b', goals, re.MULTILINE)


def test_the_newest_versions_are_tried():
    """A job that may fail takes away pins that are there."""
    job = read('.github/workflows/tests.yml')['jobs']['newest']
    assert job['continue-on-error'] is True
    texts = [step.get('run', '') for step in job['steps']]
    found = re.findall(
        r"'s/(\^.*)/(.*)/' requirements/(\w+)\.txt", '\n'.join(texts)
    )
    assert len(found) == 2
    for pattern, name, file in found:
        text = (ROOT / f'requirements/{file}.txt').read_text()
        assert re.findall(pattern, text, re.MULTILINE) == [
            f'{name}=={pins(file)[name]}'
        ]
    left_out = re.findall(
        r'--deselect (\S+)::(\w+)', job['steps'][-1]['env']['PYTEST_ARGS']
    )
    assert len(left_out) == 5
    for file, name in left_out:
        assert f'def {name}(' in (ROOT / file).read_text()


@pytest.mark.parametrize('path', FORMS, ids=lambda p: p.stem)
def test_issue_forms(path):
    form = read(path)
    if path.stem == 'config':
        return
    assert form['name'] and form['description']
    ids = [x['id'] for x in form['body'] if x['type'] != 'markdown']
    assert len(set(ids)) == len(ids) > 0


def test_pre_commit_has_the_pins_of_lint():
    text = (ROOT / '.pre-commit-config.yaml').read_text()
    version = pins('dev')['ruff']
    assert set(re.findall(r'ruff==([\d.]+)', text)) == {version}
    assert pins('docs')['ruff'] == version


def test_pins_of_the_docs_are_exact():
    lines = (ROOT / 'requirements/docs.txt').read_text().splitlines()
    assert all('==' in x for x in lines if x and not x.startswith('#'))


def test_the_changelog_has_its_form():
    """Versions, newest first; under each the known kinds, in order."""
    text = (ROOT / 'CHANGELOG.md').read_text()
    assert '## [Unreleased]' in text
    kinds = ['Added', 'Changed', 'Deprecated', 'Removed', 'Fixed', 'Security']
    for part in re.split(r'^## ', text, flags=re.MULTILINE)[1:]:
        found = re.findall(r'^### (.*)$', part, re.MULTILINE)
        assert found == sorted(found, key=kinds.index) and found


def test_the_docker_file_copies_what_exists():
    text = (ROOT / 'Dockerfile').read_text()
    ignored = (ROOT / '.dockerignore').read_text().split()
    for line in re.findall(r'^COPY (?!--)(.*)$', text, re.MULTILINE):
        for name in line.split()[:-1]:
            assert (ROOT / name).exists() and name not in ignored
    for goal in re.findall(r'RUN make (\w+)', text):
        assert goal in make_targets()
