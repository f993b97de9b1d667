#!/usr/bin/env bash
# What each part of speaker_reference is worth, and the paper's open questions of fusion: benchmarks/ablations/run.sh CORPUS=DIR ENCODER=DIR OUTPUT [options of crossvalidate …]
set -euo pipefail
corpus=$1 encoder=$2 output=$3
shift 3
python -m ser_core crossvalidate baseline speaker_reference benchmarks/ablations/reference_*.toml enrolment_attention \
    benchmarks/ablations/attention_*.toml --corpus "$corpus" --encoder "$encoder" --set training.dev_share=0 "$@" --output "$output"
