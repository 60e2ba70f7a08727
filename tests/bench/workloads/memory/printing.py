# SPDX-License-Identifier: Apache-2.0
"""pprint and json over nested data: strings put together and thrown away."""

import json
import pprint
import sys

scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
data = [{"name": "item %d" % i, "values": list(range(i % 17)), "nested": {"a": (i, str(i))}}
        for i in range(2000)]
for _ in range(max(1, round(4 * scale))):
    text = pprint.pformat(data)
    again = json.loads(json.dumps(data))
print(len(text), len(again))
