# SPDX-License-Identifier: Apache-2.0
"""Bench workload: start, import a little, end."""

import json

print(json.dumps({"short": True}))
