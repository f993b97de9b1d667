#!/usr/bin/env bash
# The tables of words in benchmarks/README.md: benchmarks/multimodal/run.sh CORPUS=DIR SENTENCES ENCODER=DIR OUTPUT [options of crossvalidate …]
set -euo pipefail
corpus=$1 sentences=$2 encoder=$3 output=$4
shift 4
here=benchmarks/multimodal
common=(--corpus "$corpus" --encoder "$encoder" --seeds 3 --set data.emotions=app --set "data.sentences=$sentences"
    --set data.attributes=circumplex "$@")
python -m ser_core crossvalidate baseline speaker_reference $here/mm_speech.toml $here/mm_text.toml $here/mm.toml \
    $here/mm_personalised.toml "${common[@]}" --output "$output/main"
python -m ser_core crossvalidate baseline $here/mm.toml $here/mm_gender.toml $here/mm_speaker_embedding.toml \
    $here/mm_speaker_prediction.toml $here/mm_whole.toml $here/mm_others.toml $here/mm_speech_gender.toml \
    $here/mm_arousal.toml $here/mm_valence.toml $here/mm_dominance.toml "${common[@]}" --output "$output/ablations"
for systems in "mm mm_speech_gender" "mm mm_gender mm_speech_gender" "mm_arousal mm_valence mm_dominance"; do
    name=${systems// / + }
    python -m ser_core ensemble "$output/ablations/predictions.csv" $systems --name "$name" --output "$output/ensemble.csv"
done | tee "$output/ensembles.txt"
python -m ser_core ensemble "$output/ablations/predictions.csv" mm mm_speech_gender --weigh-by "$output/ablations/dev.csv" \
    --name "mm + mm_speech_gender, weighed by dev CCC" --output "$output/ensemble.csv" | tee -a "$output/ensembles.txt"
