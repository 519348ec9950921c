# `make help` lists the targets. Everything that is built lies in bin/ (the two programs) and build/ (all else).
SHELL := /bin/sh
.DEFAULT_GOAL := help

# Go keeps its caches below HOME; a bare CI runner or a service may have none.
ifeq ($(strip $(HOME)),)
export HOME := $(shell getent passwd "$$(id -u)" | cut -d: -f6)
endif

VERSION := $(shell git describe --always --dirty --tags 2>/dev/null || echo unknown)
# No VCS stamp by Go itself: it refuses a checkout that belongs to another user, as in containers.
# One set of flags for all that is built, so that nothing, above all not the Temporal server, is compiled twice.
GO := CGO_ENABLED=0 GOFLAGS="$(GOFLAGS) -buildvcs=false -trimpath" go
GOBUILD := $(GO) build -ldflags "-s -w -X main.version=$(VERSION)"
# Tests read files beside their sources, so they keep real paths; the race detector needs cgo. No debugger looks at them (-w links a fifth
# faster), and all of go vet has run before.
GOTEST := CGO_ENABLED=1 go test -buildvcs=false -ldflags=-w -vet=off -json

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
WORKFLOWCHECK := go.temporal.io/sdk/contrib/tools/workflowcheck@v0.6.0
TEMPL := github.com/a-h/templ/cmd/templ@v0.3.977

ARGS ?=
PROVE ?= .
RECORD ?= first-month
DIGEST := find . -name '*_templ.go' -not -path './build/*' | sort | xargs -r sha256sum

.PHONY: help build demo test prove record lint generate clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: bin/temporal-server bin/meterflow ## bin/meterflow and bin/temporal-server

demo: ## install what is missing, build, run the demo utility until Ctrl-C (ARGS="--data DIR ...")
	@tools/install-missing run
	@$(MAKE) --no-print-directory build
	@exec bin/meterflow demo $(ARGS)

test: ## install what is missing, check, run all tests on real servers; ends with the count
	@tools/install-missing test
	@$(MAKE) --no-print-directory build lint build/withstack build/counttests
	@cd tools/temporal-server && $(GO) test .
	@METERFLOW_TEMPORAL_SERVER="$(CURDIR)/bin/temporal-server" build/withstack -dir build/teststack \
		build/counttests env $(GOTEST) -race -shuffle=on -timeout 60m ./...

prove: ## the long proofs (PROVE=name picks some, FUZZTIME=1m shortens the fuzzing), with their reports below build/
	@tools/install-missing test
	@$(MAKE) --no-print-directory build build/withstack build/counttests
	@METERFLOW_TEMPORAL_SERVER="$(CURDIR)/bin/temporal-server" METERFLOW_REPORTS="$(CURDIR)/build" build/withstack -dir build/provestack \
		build/counttests env $(GOTEST) -count=1 -tags prove -timeout 6h -run '$(PROVE)' ./...

record: build ## histories of a demo month, for the replay tests, below workflows/testdata/replay (RECORD=folder)
	rm -rf workflows/testdata/replay/$(RECORD)
	bin/meterflow demo --exit --histories workflows/testdata/replay/$(RECORD)

lint: ## go vet, staticcheck, workflowcheck, formatting, and that generated pages are current
	@echo "checking formatting and generated files"
	@unformatted="$$(find . -name '*.go' -not -path './build/*' | xargs gofmt -l)"; \
		[ -z "$$unformatted" ] || { echo "not formatted, run gofmt -w on: $$unformatted"; exit 1; }
	@before="$$($(DIGEST))"; $(MAKE) --no-print-directory generate && [ "$$before" = "$$($(DIGEST))" ] || \
		{ echo "generated pages were not current; they are now: commit them"; exit 1; }
	@echo "go vet"
	@$(GO) vet ./... && cd tools/temporal-server && $(GO) vet ./...
	@echo "staticcheck"
	@$(GO) run $(STATICCHECK) ./...
	@echo "workflowcheck"
	@$(GO) run $(WORKFLOWCHECK) ./workflows/...

generate: ## page functions from the .templ files
	@$(GO) run $(TEMPL) generate -path web -log-level error

clean: ## delete what was built
	rm -rf bin build

bin/meterflow: FORCE
	@$(GOBUILD) -o $@ ./cmd/meterflow

# Only its own sources matter: four minutes on two cores are spent when they change, not more.
bin/temporal-server: $(wildcard tools/temporal-server/*.go) tools/temporal-server/go.mod tools/temporal-server/go.sum
	@echo "building the Temporal server; the first time takes about 4 minutes"
	@cd tools/temporal-server && $(GOBUILD) -o ../../$@ .

build/%: FORCE
	@$(GOBUILD) -o $@ ./internal/devstack/cmd/$*

FORCE:
