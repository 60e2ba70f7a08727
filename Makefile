# SPDX-License-Identifier: Apache-2.0
#
# One file builds everything. "make help" lists the targets; variables: O=DIR builds elsewhere,
# V=1 shows the commands, DEBUG=1 turns optimisation off, SAN=address,undefined adds sanitizers,
# CC=clang picks the compiler, PREFIX and DESTDIR steer "make install".

VERSION := 0.1.0

CC ?= gcc
PREFIX ?= /usr/local
PKG_CONFIG ?= pkg-config
PROTOC_C ?= protoc-c
PYTHON ?= python3

ifdef SAN
O ?= build/san-$(subst $(subst ,, ),-,$(subst $(comma),-,$(SAN)))
else
O ?= build
endif
comma := ,

ifndef V
Q := @
say = @printf '  %-8s %s\n' $(1) $(2);
endif

CFLAGS ?= $(if $(DEBUG),-O0 -g3,-O2 -g)
WARN := -Wall -Wextra -Wshadow -Wformat=2 -Wundef -Wvla -Wwrite-strings -Wstrict-prototypes \
	-Wmissing-prototypes $(if $(CI),-Werror)
BASE_CFLAGS := -std=gnu11 $(WARN) -D_GNU_SOURCE -DSCPROF_VERSION='"$(VERSION)"' -I. -I$(O) -MMD -MP \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
BASE_LDFLAGS := $(if $(SAN),-fsanitize=$(SAN))

PKGS := libzstd libprotobuf-c libcjson
NEEDS_PKGS := $(filter-out help clean lint deps demo install-deps,$(or $(MAKECMDGOALS),all))
ifneq ($(NEEDS_PKGS),)
ifneq ($(filter-out test check,$(NEEDS_PKGS))$(shell $(PKG_CONFIG) --exists $(PKGS) 2>/dev/null || echo missing),)
define need_pkg
ifneq ($$(shell $(PKG_CONFIG) --exists $(1) 2>/dev/null && echo yes),yes)
MISSING += $(2)
endif
endef
$(eval $(call need_pkg,libzstd,libzstd-dev))
$(eval $(call need_pkg,libprotobuf-c,libprotobuf-c-dev))
$(eval $(call need_pkg,libcjson,libcjson-dev))
endif
endif
PKG_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(PKGS))
PKG_LIBS = $(shell $(PKG_CONFIG) --libs $(PKGS))

BASE_SRC := $(wildcard formats/base/*.c)
FORMATS_SRC := $(wildcard formats/*.c)
PYTHON_SRC := $(wildcard record/python/*.c)
AGENT_SRC := $(wildcard record/agent/*.c)
RECORD_SRC := $(filter-out record/scprof_record.c,$(wildcard record/*.c))
MODEL_SRC := $(wildcard analyze/model*.c analyze/filter*.c)
ANALYZE_SRC := $(filter-out analyze/scprof_analyze.c $(MODEL_SRC),$(wildcard analyze/*.c))
CONVERT_SRC := $(filter-out convert/scprof_convert.c,$(wildcard convert/*.c))

objs = $(patsubst %.c,$(O)/%.o,$(1))
FORMATS_OBJ := $(call objs,$(BASE_SRC) $(FORMATS_SRC)) $(O)/formats/trace.pb-c.o
TOOLS := $(O)/scprof-record $(O)/scprof-analyze $(O)/scprof-convert
AGENT := $(O)/libscprof-agent.so

.PHONY: all help clean
all: $(TOOLS) $(AGENT)

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## all        the three tools and the agent (the default)
## clean      remove what was built
clean:
	rm -rf build demo

$(O)/formats/trace.pb-c.c $(O)/formats/trace.pb-c.h &: formats/trace.proto
	$(call say,PROTO,$<)
	@mkdir -p $(O)/formats
	$(Q)$(PROTOC_C) --c_out=$(O)/formats -Iformats $<

$(O)/formats/trace.pb-c.o: $(O)/formats/trace.pb-c.c
	$(call say,CC,$<)
	$(Q)$(CC) $(filter-out -W%,$(BASE_CFLAGS)) -I$(O)/formats $(CFLAGS) $(PKG_CFLAGS) -c -o $@ $<

$(O)/formats/pack.o: $(O)/formats/trace.pb-c.h

$(O)/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) -I$(O)/formats $(CFLAGS) $(PKG_CFLAGS) -c -o $@ $<

$(O)/scprof-record: $(call objs,record/scprof_record.c $(RECORD_SRC) $(PYTHON_SRC)) $(FORMATS_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(BASE_LDFLAGS) $(LDFLAGS) -pthread -o $@ $^ $(PKG_LIBS) -lm

$(O)/scprof-analyze: $(call objs,analyze/scprof_analyze.c $(ANALYZE_SRC) $(MODEL_SRC)) $(FORMATS_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(BASE_LDFLAGS) $(LDFLAGS) -pthread -o $@ $^ $(PKG_LIBS) -lm

$(O)/scprof-convert: $(call objs,convert/scprof_convert.c $(CONVERT_SRC) $(MODEL_SRC)) $(FORMATS_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(BASE_LDFLAGS) $(LDFLAGS) -pthread -o $@ $^ $(PKG_LIBS) -lm

# The agent lives in somebody else's process: libc only, nothing exported but what it interposes,
# no sanitizers, and no builtin that the compiler could turn into a call to a hooked function.
AGENT_CFLAGS := -std=gnu11 $(WARN) -D_GNU_SOURCE -DSCPROF_VERSION='"$(VERSION)"' -I. -MMD -MP -O2 -g \
	-fPIC -fvisibility=hidden -fno-builtin -ftls-model=initial-exec -fno-stack-protector \
	-fno-omit-frame-pointer
AGENT_OBJ := $(patsubst %.c,$(O)/agent/%.o,$(AGENT_SRC) $(PYTHON_SRC))

$(O)/agent/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(AGENT_CFLAGS) -DSCPROF_AGENT -c -o $@ $<

$(AGENT): $(AGENT_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared -Wl,-z,now -Wl,-z,defs -Wl,--hash-style=gnu -o $@ $^ -ldl -pthread

-include $(shell find $(O) -name '*.d' 2>/dev/null)
