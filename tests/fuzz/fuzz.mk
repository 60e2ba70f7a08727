# SPDX-License-Identifier: Apache-2.0
#
# libFuzzer on every parser of foreign bytes, with sanitizers, for FUZZ_SECONDS each. New inputs go to
# the build folder; an input that breaks something is kept there as crash-* and belongs into the
# corpus together with the fix.

FUZZ_SECONDS ?= 60
FUZZ_CC ?= clang
FUZZ_FLAGS := -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
FUZZ_PROGRAMS := $(FUZZ_TARGETS:%=$(O)/fuzz/fuzz_%)

$(FUZZ_PROGRAMS): $(O)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/fuzz_check.c $(BASE_SRC) \
		$(FORMATS_SRC) $(O)/formats/trace.pb-c.c
	$(call say,FUZZ,$@)
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(filter-out -MMD -MP -fsanitize=%,$(BASE_CFLAGS)) $(PKG_CFLAGS) $(FUZZ_FLAGS) \
		-o $@ $^ $(PKG_LIBS) -lm

run-fuzz:
	$(Q)if ! command -v $(FUZZ_CC) >/dev/null; then \
		echo 'fuzz: needs clang with libFuzzer (Debian package clang)'; exit 1; \
	fi
	+$(Q)$(again) $(FUZZ_PROGRAMS)
	$(Q)for target in $(FUZZ_TARGETS); do \
		mkdir -p $(O)/fuzz/new-$$target; \
		$(O)/fuzz/fuzz_$$target -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
			-artifact_prefix=$(O)/fuzz/ -timeout=20 -rss_limit_mb=4096 \
			$(O)/fuzz/new-$$target tests/fuzz/corpus/$$target 2>$(O)/fuzz/$$target.log || \
			{ tail -40 $(O)/fuzz/$$target.log; exit 1; }; \
		echo "fuzz_$$target: $$(sed -n 's/^stat::number_of_executed_units: *//p' \
			$(O)/fuzz/$$target.log) inputs, nothing found"; \
	done
