# The menu of things people do. Every target is one readable line or one script.
.DEFAULT_GOAL := help
.PHONY: help demo stop test compose-test lint bench image-small image-debian clean

help: ## what can be done here
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

demo: ## from nothing to a guest that answers; leaves the node running
	deploy/demo.sh

stop: ## end the node that `make demo` started (its data stay in .berth)
	deploy/stop.sh

test: ## all tests: prerequisites, guest image, databases, broker, real guests
	tests/run.sh

compose-test: ## compose.yaml from a clean clone: images built, services up, one killed, down and up (not part of `make test`)
	tests/compose/run.sh

bench: ## what Berth costs against the bare things it is made of (tests/benches/README.md)
	tests/benches/run.sh

lint: ## formatting, clippy, protobuf style and compatibility, licences
	tests/lint.sh

image-small: ## the small guest image that boots in seconds
	deploy/images/build-small.sh target/guest

image-debian: ## a full Debian cloud image
	deploy/prerequisites.sh image-debian && deploy/images/build-debian.sh target/guest/debian-12.qcow2

clean: ## end the node and remove what builds and the demo made
	deploy/stop.sh && rm -rf target .berth
