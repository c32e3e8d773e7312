"""`pytest --long` adds the long versions of tests: minutes, and a fresh interpreter for every command."""
import pytest


def pytest_addoption(parser):
    parser.addoption('--long', action='store_true', help='run the long versions, too')


def pytest_configure(config):
    config.addinivalue_line('markers', 'long: takes minutes; runs only with --long')


def pytest_collection_modifyitems(config, items):
    if config.getoption('--long'): return
    for item in items:
        if 'long' in item.keywords: item.add_marker(pytest.mark.skip(reason='long: pytest --long runs it'))
