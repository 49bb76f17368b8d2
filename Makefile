# Everything a person or a machine runs. Two of them do it all on a fresh Debian with Rust: make demo, make test.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
# GRUB and systemd files of two Debian releases, fetched once.
BOOT_FILES := $(or $(LFS_IMAGE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/lfs-image)/boot
.PHONY: help demo test check bench clean

help:
	@printf '%s\n' 'make demo    make a Debian tarball into an image and boot it' \
	  'make test    install the judges and run every test' \
	  'make check   formatting, lints, documentation' \
	  'make bench   measure beside other tools' \
	  'make clean   remove what was built here'

demo:
	scripts/demo.sh

test:
	scripts/install-judges.sh
	scripts/get-kernel.sh amd64 >/dev/null
	scripts/get-kernel.sh arm64 >/dev/null
	tests/support/get-boot-files.sh $(BOOT_FILES)
	scripts/get-archives.sh >/dev/null
	scripts/get-boto3.sh >/dev/null
	LFS_IMAGE_BOOT_FILES=$(BOOT_FILES) cargo test --workspace --no-fail-fast

check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy -p lfs-image --locked -- -D warnings
	cargo clippy -p lfs-image --no-default-features --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
	@# The library needs no C compiler. Build dependencies count: that is where one would be called.
	tree=$$(cargo tree -p lfs-image -e normal,build --prefix none --locked); ! grep -E '^(cc|cmake|pkg-config|bindgen) ' <<<"$$tree"

bench:
	scripts/install-judges.sh bench
	benches/run.sh

clean:
	cargo clean
	rm -rf demo
