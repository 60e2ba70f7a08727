# SPDX-License-Identifier: Apache-2.0
#
# The tests of record/python: layouts against the headers of each interpreter found, opcode classes
# against its opcode tables, and objects read out of running interpreters.

PEEK_SRC := tests/python_layout/python_peek.c $(PYTHON_SRC)
PEEK_SAN_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined \
	-fno-omit-frame-pointer

.PHONY: layout-test

$(O)/tests/python_peek: $(patsubst %.c,$(O)/%.o,$(PEEK_SRC))
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_LDFLAGS) $(LDFLAGS) -o $@ $^

# The same with sanitizers, whatever the rest is built with: it reads memory that changes meanwhile.
$(O)/tests/python_peek_sanitized: $(PEEK_SRC) $(wildcard record/python/*.h)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 $(WARN) -D_GNU_SOURCE -I. -O1 -g $(PEEK_SAN_FLAGS) -o $@ $(PEEK_SRC)

## layout-test   what is known of each CPython's memory, against every interpreter found
layout-test: $(O)/tests/python_peek $(O)/tests/python_peek_sanitized
	$(Q)$(PYTHON) -m pytest -q -rs -p no:cacheprovider --build $(O) tests/python_layout
