# SPDX-License-Identifier: Apache-2.0
#
# One file builds everything; "make help" lists the targets and variables. Nothing is configured:
# objects and tools of one set of flags live in one folder ($(O)), and a change of flags in the same
# folder rebuilds it.

VERSION := 0.1.0

CC := $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
PREFIX ?= /usr/local
PKG_CONFIG ?= pkg-config
PROTOC_C ?= protoc-c
PYTHON ?= python3
INSTALL ?= install
AARCH64_CC ?= aarch64-linux-gnu-gcc

comma := ,
empty :=
space := $(empty) $(empty)

# build, build/clang, build/debug, build/san-address-undefined, ...
variant := $(if $(filter-out gcc cc,$(notdir $(firstword $(CC)))),$(notdir $(firstword $(CC)))) \
	$(if $(DEBUG),debug) $(if $(SAN),san-$(subst $(comma),-,$(SAN)))
O ?= $(subst $(space),/,$(strip build $(variant)))

ifndef V
Q := @
say = @printf '  %-8s %s\n' $(1) $(2)
else
say = @:
endif

# --- what the build needs -----------------------------------------------------------------------

# Goals that compile nothing, or that install what is missing before they start make again.
LIGHT_GOALS := help clean deps demo test check lint uninstall
BUILD_GOALS := $(filter-out $(LIGHT_GOALS),$(or $(MAKECMDGOALS),all))
PKGS := libzstd libprotobuf-c libcjson zlib ncursesw

ifneq ($(BUILD_GOALS),)
have = $(shell command -v $(1) 2>/dev/null)
module = $(shell $(PKG_CONFIG) --exists $(1) 2>/dev/null && echo yes)
missing := $(if $(call have,$(CC)),,$(firstword $(CC)))
ifeq ($(call have,$(PKG_CONFIG)),)
missing += pkg-config
else
missing += $(if $(call module,libzstd),,libzstd-dev)
missing += $(if $(call module,libprotobuf-c),,libprotobuf-c-dev)
missing += $(if $(call module,libcjson),,libcjson-dev)
missing += $(if $(call module,zlib),,zlib1g-dev)
missing += $(if $(call module,ncursesw),,libncurses-dev)
endif
missing += $(if $(call have,$(PROTOC_C)),,protobuf-c-compiler)
ifneq ($(strip $(missing)),)
$(error scprof needs the Debian package(s) $(strip $(missing)): run "make deps" or "apt-get install $(strip $(missing))")
endif
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS))
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PKGS))
endif

# --- flags --------------------------------------------------------------------------------------

CFLAGS ?= $(if $(DEBUG),-O0 -g3,-O2 -g)
WARN := -Wall -Wextra -Wshadow -Wformat=2 -Wundef -Wvla -Wwrite-strings -Wstrict-prototypes \
	-Wmissing-prototypes $(if $(CI),-Werror)
COMMON_CFLAGS := -std=gnu11 -D_GNU_SOURCE -DSCPROF_VERSION='"$(VERSION)"' -I. -MMD -MP
BASE_CFLAGS := $(COMMON_CFLAGS) -pthread -I$(O) -I$(O)/formats $(WARN) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
BASE_LDFLAGS := -pthread -Wl,--as-needed $(if $(SAN),-fsanitize=$(SAN))

# The agent lives in somebody else's process: libc only, nothing exported but what it interposes,
# no sanitizers, and no builtin that the compiler could turn into a call to a hooked function.
AGENT_CFLAGS := $(COMMON_CFLAGS) $(WARN) -DSCPROF_AGENT -U_FORTIFY_SOURCE $(if $(DEBUG),-O1,-O2) -g -fPIC \
	-fvisibility=hidden -fno-builtin \
	$(if $(findstring clang,$(CC)),,-fno-tree-loop-distribute-patterns) \
	-ftls-model=initial-exec -fno-stack-protector -fno-omit-frame-pointer
# Its own calls of what it interposes stay within it, and it is never unloaded.
AGENT_LDFLAGS := -shared -Wl,-z,now -Wl,-z,defs -Wl,-z,nodelete -Wl,--hash-style=gnu \
	-Wl,-Bsymbolic-functions \
	-Wl,--wrap=memcpy -Wl,--wrap=memmove

# --- sources ------------------------------------------------------------------------------------

BASE_SRC := $(sort $(wildcard formats/base/*.c))
FORMATS_SRC := $(sort $(wildcard formats/*.c))
PYTHON_SRC := $(sort $(wildcard record/python/*.c))
AGENT_SRC := $(sort $(wildcard record/agent/*.c record/python/layout*.c record/python/opcode*.c))
# What only some of the agent's libraries contain: see launch_find_agent.
AGENT_MEMORY_SRC := $(filter record/agent/heap_%,$(AGENT_SRC))
AGENT_COPIES_SRC := $(filter record/agent/interpose_copy%,$(AGENT_SRC))
AGENT_BASE_SRC := $(filter-out $(AGENT_MEMORY_SRC) $(AGENT_COPIES_SRC),$(AGENT_SRC))
RECORD_SRC := $(filter-out record/scprof_record.c,$(sort $(wildcard record/*.c)))
MODEL_SRC := $(sort $(wildcard analyze/model*.c analyze/filter*.c analyze/ledger*.c) analyze/estimate.c analyze/series.c analyze/growth.c)
ANALYZE_SRC := $(filter-out analyze/scprof_analyze.c $(MODEL_SRC),$(sort $(wildcard analyze/*.c)))
CONVERT_SRC := $(filter-out convert/scprof_convert.c,$(sort $(wildcard convert/*.c)))

objs = $(patsubst %.c,$(O)/%.o,$(1))
FORMATS_OBJ := $(call objs,$(BASE_SRC) $(FORMATS_SRC)) $(O)/formats/trace.pb-c.o
MODEL_OBJ := $(call objs,$(MODEL_SRC))
RECORD_OBJ := $(call objs,$(RECORD_SRC) $(PYTHON_SRC))
ANALYZE_OBJ := $(call objs,$(ANALYZE_SRC))
CONVERT_OBJ := $(call objs,$(CONVERT_SRC))
agent_objs = $(patsubst %.c,$(O)/agent/%.o,$(1))

TOOLS := $(O)/scprof-record $(O)/scprof-analyze $(O)/scprof-convert
AGENT := $(O)/libscprof-agent.so
AGENTS := $(AGENT) $(AGENT:.so=-memory.so) $(AGENT:.so=-copies.so) $(AGENT:.so=-memory-copies.so)
MODULE := record/module/scprof.py
MAN1 := $(sort $(wildcard man/*.1))
MAN5 := $(sort $(wildcard man/*.5))

.DELETE_ON_ERROR:
.PHONY: all help deps demo test check unit lint fuzz bench cross-check install uninstall clean force

## all           the three tools and the agent (the default)
all: $(TOOLS) $(AGENTS)

## help          this list
help:
	@echo 'make TARGET [VARIABLE=...]'
	@sed -n 's/^## /  /p' $(filter Makefile %.mk,$(MAKEFILE_LIST))
	@echo
	@echo '  O=DIR         build in DIR instead of build/'
	@echo '  CC=clang      another compiler'
	@echo '  DEBUG=1       without optimisation'
	@echo '  SAN=address,undefined   with sanitizers (never the agent)'
	@echo '  V=1           show the commands'
	@echo '  PREFIX=/usr/local DESTDIR=   where "make install" puts things'
	@echo '  SCPROF_PYTHONS=A:B      more interpreters for the tests'

# --- building -----------------------------------------------------------------------------------

# Holds the flags of the last build in this folder; everything is rebuilt when they change.
$(O)/flags: force
	@mkdir -p $(@D)
	@flags='$(subst ','"'"',$(CC) $(CFLAGS) $(BASE_CFLAGS) $(AGENT_CFLAGS) $(LDFLAGS) $(BASE_LDFLAGS))'; \
	printf '%s\n' "$$flags" | cmp -s - $@ || printf '%s\n' "$$flags" >$@

$(O)/formats/trace.pb-c.c $(O)/formats/trace.pb-c.h &: formats/trace.proto
	$(call say,PROTO,$<)
	@mkdir -p $(O)/formats
	$(Q)$(PROTOC_C) --c_out=$(O)/formats -Iformats $<

$(O)/formats/trace.pb-c.o: $(O)/formats/trace.pb-c.c $(O)/flags
	$(call say,CC,$<)
	$(Q)$(CC) $(filter-out -W%,$(BASE_CFLAGS)) $(CFLAGS) $(PKG_CFLAGS) -c -o $@ $<

$(O)/formats/pack.o $(O)/formats/unpack.o: $(O)/formats/trace.pb-c.h
# The assembler includes these.
$(O)/convert/flamegraph_assets.o: convert/flamegraph.css convert/flamegraph.js

$(O)/%.o: %.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CFLAGS) $(PKG_CFLAGS) -c -o $@ $<

link = $(CC) $(BASE_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(PKG_LIBS) -lm

$(O)/scprof-record: $(call objs,record/scprof_record.c) $(RECORD_OBJ) $(FORMATS_OBJ)
	$(call say,LINK,$@)
	$(Q)$(link)

$(O)/scprof-analyze: $(call objs,analyze/scprof_analyze.c) $(ANALYZE_OBJ) $(MODEL_OBJ) $(FORMATS_OBJ)
	$(call say,LINK,$@)
	$(Q)$(link)

$(O)/scprof-convert: $(call objs,convert/scprof_convert.c) $(CONVERT_OBJ) $(MODEL_OBJ) $(FORMATS_OBJ)
	$(call say,LINK,$@)
	$(Q)$(link)

# On the way of every copy and every allocation that the program makes.
$(patsubst %,$(O)/agent/record/agent/%.o,interpose_copy heap_malloc heap_python): \
	AGENT_CFLAGS += -fomit-frame-pointer

# Ends in a jump, see watch_dlsym.
$(O)/agent/record/agent/inject.o: AGENT_CFLAGS += -foptimize-sibling-calls

$(O)/agent/%.o: %.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(AGENT_CFLAGS) -c -o $@ $<

$(AGENTS): $(call agent_objs,$(AGENT_BASE_SRC))
$(filter %-memory.so %-memory-copies.so,$(AGENTS)): $(call agent_objs,$(AGENT_MEMORY_SRC))
$(filter %-copies.so,$(AGENTS)): $(call agent_objs,$(AGENT_COPIES_SRC))
$(AGENTS):
	$(call say,LINK,$@)
	$(Q)$(CC) $(AGENT_LDFLAGS) -o $@ $(filter %.o,$^) -ldl -pthread

# --- trying and testing -------------------------------------------------------------------------

# demo and test begin by installing what is missing, so they start make again for the rest: with the
# jobs that were asked for, or as many as there are processors.
again = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

## demo          record a sample program, print its report, write its exports to demo/
demo:
	$(Q)sh tests/install-deps.sh build
	+$(Q)$(again) all
	$(Q)sh samples/demo.sh $(O) demo

## test, check   install what the tests need, build, run every test suite
test check:
	$(Q)sh tests/install-deps.sh test
	+$(Q)$(again) all
	$(Q)$(PYTHON) tests/run.py --build $(O) $(if $(SAN),--sanitized) $(SUITES)

## unit          the C unit tests
unit: run-unit

## fuzz          mutate traces and files against every parser for a while
fuzz: run-fuzz

## lint          include directions, banned calls, format, options in the man pages
lint:
	$(Q)$(PYTHON) tests/lint/lint.py --build $(O)

## bench         cost and accuracy, against the other profilers that can be installed
bench: all run-bench run-bench-memory run-bench-attach

.PHONY: run-unit run-fuzz run-bench run-bench-memory run-bench-attach
run-bench: $(O)/tests/make_big_trace
	$(Q)$(PYTHON) tests/bench/bench.py --build $(O) $(BENCH)

run-bench-memory: all $(O)/tests/make_big_trace $(O)/tests/alloc_pairs.so
	$(Q)$(PYTHON) tests/bench/bench_memory.py --build $(O) $(BENCH_MEMORY)

run-bench-attach: all
	$(Q)$(PYTHON) tests/bench/bench_attach.py --build $(O) $(BENCH_ATTACH)

$(O)/tests/alloc_pairs.so: tests/bench/alloc_pairs.c $(O)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(COMMON_CFLAGS) $(WARN) -O2 -fno-builtin -fPIC -shared -pthread -o $@ $<

$(O)/tests/make_big_trace: $(call objs,tests/bench/make_big_trace.c) $(FORMATS_OBJ)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(link)

## cross-check   compile every source for aarch64, without linking
cross-check: $(O)/formats/trace.pb-c.h
	$(Q)if ! command -v $(AARCH64_CC) >/dev/null; then \
		echo 'cross-check: skipped, $(AARCH64_CC) is not installed (package gcc-aarch64-linux-gnu)'; \
		exit 0; \
	fi; \
	for file in $(BASE_SRC) $(FORMATS_SRC) $(PYTHON_SRC) $(AGENT_SRC) \
		$(wildcard record/*.c analyze/*.c convert/*.c); do \
		$(AARCH64_CC) -fsyntax-only $(filter-out -MMD -MP -fsanitize%,$(BASE_CFLAGS)) -Wno-error \
			-idirafter /usr/include $(PKG_CFLAGS) $$file || exit 1; \
	done; \
	echo 'cross-check: all sources compile for aarch64'

## deps          install what build and tests need (Debian, Ubuntu)
deps:
	$(Q)sh tests/install-deps.sh test

# --- installing ---------------------------------------------------------------------------------

bindir := $(DESTDIR)$(PREFIX)/bin
libdir := $(DESTDIR)$(PREFIX)/lib/scprof
mandir := $(DESTDIR)$(PREFIX)/share/man

## install       tools to PREFIX/bin, agent to PREFIX/lib/scprof, manual pages
install: all
	$(Q)$(INSTALL) -d $(bindir) $(libdir) $(mandir)/man1 $(mandir)/man5
	$(Q)$(INSTALL) -m 755 $(TOOLS) $(bindir)
	$(Q)$(INSTALL) -m 644 $(AGENTS) $(MODULE) $(libdir)
	$(Q)$(if $(MAN1),$(INSTALL) -m 644 $(MAN1) $(mandir)/man1)
	$(Q)$(if $(MAN5),$(INSTALL) -m 644 $(MAN5) $(mandir)/man5)
	@echo 'installed in $(DESTDIR)$(PREFIX)'

## uninstall     remove what install put there
uninstall:
	$(Q)rm -f $(addprefix $(bindir)/,$(notdir $(TOOLS))) $(addprefix $(libdir)/,$(notdir $(AGENTS) $(MODULE))) \
		$(addprefix $(mandir)/,$(MAN1:man/%=man1/%) $(MAN5:man/%=man5/%))
	$(Q)rmdir $(libdir) 2>/dev/null || true

## clean         remove what was built
clean:
	rm -rf build demo

-include tests/unit/unit.mk tests/fuzz/fuzz.mk tests/python_layout/layout.mk
ifneq ($(BUILD_GOALS),)
parts := formats record analyze convert agent tests
-include $(shell find $(addprefix $(O)/,$(parts)) -type f -name '*.d' 2>/dev/null)
endif
