#!/bin/bash
# A teacher's embeddings with one process for each GPU of each node; run it on every node, with the same arguments,
# which are those of `mobilesam distill embed`.
#
#   NODES=4 HEAD=node0 deploy/torchrun.sh recipe.toml --output /data/embeddings
#
# torchrun only starts the processes and tells each its GPU: they share nothing but the output folder. When one fails,
# torchrun stops all of a job and starts them again, RESTARTS times at most; what is finished stays finished. A run in
# which a photo has no result fails too (exit code 1), so it is looked at again before it ends.
# GPUS (on each node), DEVICE and PORT have defaults.

set -euo pipefail
gpus=${GPUS:-$(nvidia-smi --list-gpus | wc -l)}
export MOBILESAM_DEVICE=${DEVICE:-cuda}
exec torchrun --nnodes "${NODES:-1}" --nproc-per-node "$gpus" --max-restarts "${RESTARTS:-3}" \
  --rdzv-backend c10d --rdzv-endpoint "${HEAD:-localhost}:${PORT:-29400}" \
  --no-python bash -c \
  'CUDA_VISIBLE_DEVICES=$LOCAL_RANK exec mobilesam distill embed "$@" --workers 1 --set "teacher.device=$MOBILESAM_DEVICE"' \
  rank "$@"
