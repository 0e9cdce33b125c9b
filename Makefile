# Event Syncer. `make` builds build/event-syncer; `make run` and `make test` first install what is missing on Debian.
#
#   make [CC=clang] [SANITIZE=address,undefined | SANITIZE=thread]   each combination has a folder of its own
#   make run ARGS="--listen 127.0.0.1:8080"
#   make soak [SOAK_SECONDS=300]     a long run under mixed load, of any of these builds
#   make test | bench | lint | format | install PREFIX=/usr/local | clean
#   make fuzz [FUZZ_SECONDS=20]   each target of test/fuzz for so long; what they have found lies in build/fuzz

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
SANITIZE ?=
PREFIX ?= /usr/local
ARGS ?=

CPPFLAGS := -D_GNU_SOURCE -Iinclude -Isrc -isystem /usr/include/postgresql
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Werror
CFLAGS ?= -O2 -g
LIBRARIES := -lhttp_parser -lyajl -lsqlite3 -lpq -lcurl

OUT := build
ifneq ($(CC),gcc)
OUT := $(OUT)/$(notdir $(CC))
endif
ifneq ($(SANITIZE),)
comma := ,
OUT := $(OUT)/$(subst $(comma),-,$(SANITIZE))
SANITIZER := -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all
# As TEST_TIME_SCALE in .ci/run.
CPPFLAGS += -DSTORE_CHECKS -DDEADLINE_SCALE=4
endif

# The usual build is optimized as a whole (some 2% less CPU a request).
ifeq ($(CC)$(SANITIZE),gcc)
WHOLE_PROGRAM := -flto=auto
endif

COMPILE = $(CC) -std=c17 -pthread $(CPPFLAGS) $(CFLAGS) $(WARNINGS) $(SANITIZER) -MMD -MP
LINK = $(CC) -pthread $(CFLAGS) $(SANITIZER) $(LDFLAGS)

SOURCES := $(wildcard src/*.c src/*/*.c)
OBJECTS := $(SOURCES:%.c=$(OUT)/objects/%.o)
# Tests link of it what they use.
MODULES := $(OUT)/modules.a
SHARED_KIT := $(patsubst %.c,$(OUT)/objects/%.o,$(wildcard test/*.c))
KIT := $(patsubst %.c,$(OUT)/objects/%.o,$(wildcard test/blackbox/kit*.c)) $(SHARED_KIT)
UNIT_TESTS := $(patsubst test/unit/%.c,$(OUT)/test/%,$(wildcard test/unit/test_*.c))
# They speak to the program over sockets, so those of another build will do: make test SANITIZE=thread BLACKBOX=build
BLACKBOX ?= $(OUT)
BLACKBOX_TESTS := $(patsubst test/blackbox/%.c,$(BLACKBOX)/test/%,$(wildcard test/blackbox/test_*.c))
# Where allocations fail on purpose (test/faults/faults.h). A library goes before the usual program as it is. The sanitizers'
# malloc lies in the program, so theirs is linked once more, from the same objects.
ifeq ($(SANITIZE),)
FAULTS := $(OUT)/faults/faults.so
else
FAULTS := $(OUT)/faults/event-syncer
endif
BENCHES := $(patsubst bench/%.c,$(OUT)/bench/%,$(filter-out bench/common.c,$(wildcard bench/*.c)))
SOAK := $(patsubst %.c,$(OUT)/objects/%.o,$(wildcard test/soak/*.c))
SOAK_SECONDS ?= 300
FUZZ_TARGETS := $(patsubst test/fuzz/%.c,$(OUT)/%,$(wildcard test/fuzz/fuzz_*.c))
C_FILES = $(shell git ls-files --cached --others --exclude-standard '*.c' '*.h')

# cppcheck reads no system headers, but must know these macros.
QUEUE_HEADER = $(shell $(CC) -E -M -include sys/queue.h -x c /dev/null | grep -o '/[^ ]*/sys/queue.h')

BUILD_PACKAGES := gcc libc6-dev libhttp-parser-dev libyajl-dev libsqlite3-dev libpq-dev libcurl4-openssl-dev ca-certificates
# Servers for the tests to start by themselves, and a client of the browsers' kind.
TEST_PACKAGES := libcmocka-dev postgresql nodejs node-eventsource openssl
# lld: sanitized programs are large and many.
CLANG_PACKAGES := clang libclang-rt-dev llvm lld
ifneq ($(CC),gcc)
BUILD_PACKAGES += $(CLANG_PACKAGES)
LDFLAGS += -fuse-ld=lld
endif
LINT_PACKAGES := clang clang-format clang-tidy cppcheck

.PHONY: all run test tests unit-tests benches bench soak fuzz fuzzers lint format install clean
.PHONY: build-packages test-packages fuzz-packages lint-packages

all: $(OUT)/event-syncer

# The inner make looks for sources and compilers only after the packages are there.
run: build-packages
	@$(MAKE) --no-print-directory all
	@exec $(OUT)/event-syncer serve $(ARGS)

test: test-packages
	@$(MAKE) --no-print-directory tests
	@EVENT_SYNCER_BINARY=$(OUT)/event-syncer test/run $(UNIT_TESTS) $(BLACKBOX_TESTS)

tests: unit-tests $(BLACKBOX_TESTS)

unit-tests: all $(UNIT_TESTS) $(FAULTS)

bench: build-packages
	@$(MAKE) --no-print-directory all benches
	@EVENT_SYNCER_BINARY=$(OUT)/event-syncer bench/run

benches: $(BENCHES)

# Sanitizers slow everything down; deadlines of the run scale with it.
soak: test-packages
	@$(MAKE) --no-print-directory all $(OUT)/test/soak
	@EVENT_SYNCER_BINARY=$(OUT)/event-syncer SOAK_SECONDS=$(SOAK_SECONDS) CMOCKA_MESSAGE_OUTPUT=stdout \
		TEST_TIME_SCALE=$${TEST_TIME_SCALE:-$(if $(SANITIZE),6,1)} $(OUT)/test/soak

$(OUT)/event-syncer: $(OBJECTS)
	@echo "link $@"
	@$(LINK) $(WHOLE_PROGRAM) $^ $(LIBRARIES) -o $@

$(MODULES): $(filter-out $(OUT)/objects/src/main.o,$(OBJECTS))
	@rm -f $@
	@gcc-ar rcs $@ $^

$(OUT)/objects/src/%.o: COMPILE += $(WHOLE_PROGRAM)

$(OUT)/objects/%.o: %.c
	@mkdir -p $(@D)
	@echo "$(CC) $<"
	@$(COMPILE) -c $< -o $@

$(UNIT_TESTS): $(OUT)/test/%: $(OUT)/objects/test/unit/%.o $(SHARED_KIT) $(MODULES)
	@mkdir -p $(@D)
	@$(LINK) $^ $(LIBRARIES) -lcmocka -o $@

ifeq ($(BLACKBOX),$(OUT))
$(BLACKBOX_TESTS): $(OUT)/test/%: $(OUT)/objects/test/blackbox/%.o $(KIT)
	@mkdir -p $(@D)
	@$(LINK) $^ -lcmocka -lpq -lsqlite3 -o $@
endif

$(OUT)/test/soak: $(SOAK) $(KIT)
	@mkdir -p $(@D)
	@$(LINK) $^ -lcmocka -lpq -lsqlite3 -o $@

# Without builtins: calloc must not become a call of itself. Without sanitizers: it is called before they are ready. With frame
# pointers: LeakSanitizer passes over what it can't tell the caller of.
$(OUT)/objects/test/faults/%.o: override CFLAGS += -fPIC -fno-builtin
$(OUT)/objects/test/faults/%.o: SANITIZER := -fno-omit-frame-pointer
$(OUT)/faults/faults.so: $(OUT)/objects/test/faults/faults.o
	@mkdir -p $(@D)
	@$(LINK) -shared $^ -o $@

$(OUT)/faults/event-syncer: $(OBJECTS) $(OUT)/objects/test/faults/faults.o
	@mkdir -p $(@D)
	@echo "link $@"
	@$(LINK) $^ $(LIBRARIES) -o $@

# This one measures a module from within.
$(OUT)/bench/metrics: $(filter $(OUT)/objects/src/base/% $(OUT)/objects/src/metrics/%,$(OBJECTS))

$(BENCHES): $(OUT)/bench/%: $(OUT)/objects/bench/%.o $(OUT)/objects/bench/common.o
	@mkdir -p $(@D)
	@$(LINK) $^ $(LIBRARIES) -o $@

# All is compiled once, for libFuzzer, in a folder of its own; of the modules, each target links those that it uses. Deadlines are
# long, as nobody finds a fault twice that is one of a busy machine.
FUZZ_MAKE = $(MAKE) --no-print-directory CC=clang OUT=build/fuzz SANITIZE=fuzzer-no-link,address,undefined \
	CFLAGS="-O1 -gline-tables-only -Dclock_gettime=fuzz_clock_gettime -UDEADLINE_SCALE -DDEADLINE_SCALE=40"

fuzz: fuzz-packages
	@$(FUZZ_MAKE) fuzzers
	@test/fuzz/run build/fuzz $(notdir $(FUZZ_TARGETS))

fuzzers: $(FUZZ_TARGETS)

$(OUT)/kit.a: $(patsubst %.c,$(OUT)/objects/%.o,$(wildcard test/fuzz/kit*.c))
	@rm -f $@
	@gcc-ar rcs $@ $^

$(FUZZ_TARGETS): $(OUT)/%: $(OUT)/objects/test/fuzz/%.o $(OUT)/kit.a $(MODULES)
	@$(LINK) -fsanitize=fuzzer $^ $(LIBRARIES) -o $@

.SECONDARY:

lint: lint-packages test-packages
	@clang-format --dry-run --Werror $(C_FILES)
	@cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr --enable=warning,performance,portability \
		--suppress=missingIncludeSystem --include=$(QUEUE_HEADER) -Iinclude -Isrc -D_GNU_SOURCE src
	@printf '%s\n' $(SOURCES) | xargs -P $$(nproc) -I{} \
		clang-tidy --quiet --warnings-as-errors='*' {} -- -std=c17 $(CPPFLAGS) 2>&1 | \
		{ ! grep -v 'warnings generated'; }

format: lint-packages
	clang-format -i $(C_FILES)

install: all
	install -D -m 755 $(OUT)/event-syncer $(DESTDIR)$(PREFIX)/bin/event-syncer

clean:
	rm -rf build

# Installs the packages that are missing; asks nobody and touches no network when none is.
define install_packages
	@missing=""; for package in $(1); do \
		dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "installing:$$missing"; \
		sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		$$sudo apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	fi
endef

build-packages:
	$(call install_packages,$(BUILD_PACKAGES))

test-packages:
	$(call install_packages,$(BUILD_PACKAGES) $(TEST_PACKAGES))

fuzz-packages:
	$(call install_packages,$(BUILD_PACKAGES) $(CLANG_PACKAGES))

lint-packages:
	$(call install_packages,$(LINT_PACKAGES))

-include $(OBJECTS:.o=.d) $(KIT:.o=.d) $(wildcard $(OUT)/objects/test/*.d $(OUT)/objects/test/*/*.d $(OUT)/objects/bench/*.d)
