#!/bin/bash
# A teacher's embeddings with one process for each GPU of each node; run it on every node, with the same arguments.
#
#   NODES=4 HEAD=node0 deploy/torchrun.sh recipe.toml /data/embeddings
#
# torchrun only starts the processes and tells each its number: they share nothing but the output folder.

set -euo pipefail
recipe=$1
output=$2
gpus=$(nvidia-smi --list-gpus | wc -l)
exec torchrun --nnodes "${NODES:-1}" --nproc-per-node "$gpus" --rdzv-backend c10d --rdzv-endpoint "${HEAD:-localhost}:29400" \
  --no-python bash -c 'CUDA_VISIBLE_DEVICES=$LOCAL_RANK exec mobilesam distill embed "$0" --output "$1" --workers 1 --set teacher.device=cuda' \
  "$recipe" "$output"
