# SPDX-License-Identifier: Apache-2.0
#
# The C unit tests: one program for each tests/unit/test_*.c, the fuzz targets over their corpus, and
# the location tables against every interpreter found. run_unit.py runs them all and counts.

UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
UNIT_PROGRAMS := $(UNIT_SRC:%.c=$(O)/%)
# These test formats/ alone; the others may use everything but the tools' own files.
UNIT_FORMATS := $(patsubst %,$(O)/tests/unit/test_%,base json opt trace trace_memory damage \
	damage_memory mutate line_table elf)
UNIT_SUPPORT := $(call objs,tests/unit/fixture.c tests/unit/fixture_memory.c tests/fuzz/fuzz_check.c)
UNIT_LIBRARY := $(O)/tests/unit/libscprof.a
UNIT_LIBS = $(shell $(PKG_CONFIG) --libs check 2>/dev/null)

FUZZ_TARGETS := trace_reader line_table elf
CORPUS_PROGRAMS := $(FUZZ_TARGETS:%=$(O)/tests/fuzz/corpus_%)
corpus_of = $(wildcard tests/fuzz/corpus/$(1)/*)

$(O)/tests/unit/%.o: PKG_CFLAGS += $(shell $(PKG_CONFIG) --cflags check 2>/dev/null)

unit_link = $(CC) $(BASE_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(UNIT_LIBS) \
	$(PKG_LIBS) -lm

$(UNIT_FORMATS): $(O)/tests/unit/test_%: $(O)/tests/unit/test_%.o $(UNIT_SUPPORT) $(FORMATS_OBJ)
	$(call say,LINK,$@)
	$(Q)$(unit_link)

$(filter-out $(UNIT_FORMATS),$(UNIT_PROGRAMS)): $(O)/tests/unit/test_%: $(O)/tests/unit/test_%.o \
		$(UNIT_LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(unit_link)

$(O)/tests/unit/test_drain_heap $(O)/tests/unit/test_drain_lanes: $(call objs,tests/unit/scene.c)

# Parts of the agent that need nothing of it; the test supplies what they ask for.
$(O)/tests/unit/test_countdown: $(call objs,record/agent/countdown.c)
$(O)/tests/unit/test_heap_set: $(call objs,record/agent/heap_set.c)
$(O)/tests/unit/test_patch: $(call objs,record/agent/patch.c)
# What it loads calls functions of the program.
$(O)/tests/unit/test_patch: BASE_LDFLAGS += -rdynamic -ldl
$(O)/tests/unit/test_patch: | $(O)/tests/unit/patch_object_lazy.so $(O)/tests/unit/patch_object_now.so

$(O)/tests/unit/patch_object_%.so: tests/unit/patch_object.c $(O)/flags
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(COMMON_CFLAGS) $(WARN) -O1 -fPIC -fplt -shared -Wl,-z,$* -Wl,-z,relro -o $@ $<

$(UNIT_LIBRARY): $(CONVERT_OBJ) $(ANALYZE_OBJ) $(MODEL_OBJ) $(RECORD_OBJ) $(FORMATS_OBJ)
	$(call say,AR,$@)
	@mkdir -p $(@D)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(O)/tests/unit/line_table_check: $(call objs,tests/unit/line_table_check.c) $(FORMATS_OBJ)
	$(call say,LINK,$@)
	$(Q)$(link)

$(CORPUS_PROGRAMS): $(O)/tests/fuzz/corpus_%: $(O)/tests/fuzz/fuzz_%.o \
		$(call objs,tests/fuzz/fuzz_main.c tests/fuzz/fuzz_check.c) $(FORMATS_OBJ)
	$(call say,LINK,$@)
	$(Q)$(link)

run-unit: $(UNIT_PROGRAMS) $(CORPUS_PROGRAMS) $(O)/tests/unit/line_table_check
	$(Q)$(PYTHON) tests/unit/run_unit.py $(O) $(UNIT_PROGRAMS)

$(O)/tests/unit/measure_trace: $(call objs,tests/unit/measure_trace.c) $(FORMATS_OBJ)
	$(call say,LINK,$@)
	$(Q)$(unit_link)

## measure-trace bytes a sample or heap event, and how many are written and read a second
.PHONY: measure-trace
measure-trace: $(O)/tests/unit/measure_trace
	$(Q)$<
