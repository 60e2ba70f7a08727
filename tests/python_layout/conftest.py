# SPDX-License-Identifier: Apache-2.0
"""Where python_peek is."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture(scope="session")
def peek(tools):
    return os.path.join(tools.build, "tests", "python_peek")


@pytest.fixture(scope="session")
def peek_sanitized(tools):
    return os.path.join(tools.build, "tests", "python_peek_sanitized")
