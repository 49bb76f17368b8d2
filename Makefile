# Everything a person or a machine runs. Two of them do it all on a fresh Debian with Rust: make demo, make test.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
# Judges are where ordinary users don't look for programs.
export PATH := $(PATH):/usr/sbin:/sbin
# GRUB and systemd files of two Debian releases, fetched once.
BOOT_FILES := $(or $(LFS_IMAGE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/lfs-image)/boot
.PHONY: help demo test test-sdk check soak supply bench bench-push dist dist-check clean

help:
	@printf '%s\n' 'make demo    make a Debian tarball into an image and boot it' \
	  'make test    install the judges and run every test' \
	  'make test-sdk    push through the aws-sdk-ec2 crate; 8 GB of memory and a while to build' \
	  'make check   formatting, lints, documentation' \
	  'make soak    what make test does a little of, for an hour' \
	  'make supply  what make check looks at in dependencies, and what takes longer' \
	  'make bench   measure beside other tools' \
	  'make dist    one static program with its manual, in dist/' \
	  'make dist-check  make it twice, in two places, and compare' \
	  'make bench-push  measure uploads beside coldsnap; the same to build that' \
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
	python3 benches/test_benches.py
	benches/gate.py

# The other way to speak EC2, which takes a quarter of an hour and 7.5 GB to build: not in every run.
test-sdk:
	scripts/install-judges.sh
	scripts/get-kernel.sh amd64 >/dev/null
	scripts/get-kernel.sh arm64 >/dev/null
	tests/support/get-boot-files.sh $(BOOT_FILES)
	scripts/get-boto3.sh >/dev/null
	cargo clippy -p lfs-image -p lfs-image-cli --features aws-sdk-ec2 --all-targets --locked -- -D warnings
	LFS_IMAGE_BOOT_FILES=$(BOOT_FILES) cargo test -p lfs-image -p lfs-image-cli --features aws-sdk-ec2 --locked --no-fail-fast --lib --test push --test aws

check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy -p lfs-image --locked -- -D warnings
	cargo clippy -p lfs-image --no-default-features --locked -- -D warnings
	cargo clippy -p lfs-image --features ebs --locked -- -D warnings
	@# The library's pages with every set of features that clippy has just looked at; with ami, they are the workspace's. Not with
	@# aws-sdk-ec2: pages need that crate's metadata, which takes 7.5 GB to make, and it adds nothing public.
	RUSTDOCFLAGS='-D warnings' cargo doc -p lfs-image --no-default-features --no-deps --locked
	RUSTDOCFLAGS='-D warnings' cargo doc -p lfs-image --no-deps --locked
	RUSTDOCFLAGS='-D warnings' cargo doc -p lfs-image --features ebs --no-deps --locked
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
	@# The fuzz targets, which a workspace of their own keeps out of all this. Nothing is linked, so no C++ compiler is needed.
	CUSTOM_LIBFUZZER_PATH=/nowhere/libfuzzer.a cargo check --manifest-path tests/fuzz/Cargo.toml --bins --locked
	scripts/public-api.sh
	@# The library needs no C compiler. Build dependencies count: that is where one would be called.
	tree=$$(cargo tree -p lfs-image -e normal,build --prefix none --locked); ! grep -E '^(cc|cmake|pkg-config|bindgen) ' <<<"$$tree"
	scripts/supply.sh

# Seeds are printed. LFS_IMAGE_SEED=N begins with another one.
soak:
	LFS_IMAGE_SOAK=500 cargo test --workspace --test image -- --nocapture soak::
	LFS_IMAGE_STORM=200 cargo test --workspace --test push -- --nocapture storm::
	LFS_IMAGE_CUTS=20 cargo test --workspace --test cli -- --nocapture a_filesystem_wears_well
	LFS_IMAGE_CASES=5000 cargo test --workspace --test cli -- --nocapture random_trees_come_back

supply:
	scripts/supply.sh all

bench:
	scripts/install-judges.sh
	benches/run.sh

dist:
	scripts/dist.sh

dist-check:
	scripts/dist-check.sh

bench-push:
	scripts/install-judges.sh bench
	benches/push.sh

clean:
	cargo clean
	rm -rf demo dist
