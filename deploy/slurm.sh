#!/bin/bash
# Masks for a data set on a Slurm cluster: every task of the array has a worker for each of its cores, and all share the
# output folder.
#
#   sbatch --array=0-63 deploy/slurm.sh /data/shards /data/masks
#
# Embeddings of a teacher have the same shape:
#
#   sbatch --array=0-63 --cpus-per-task=4 --mem=32G --wrap 'mobilesam distill embed recipe.toml --output /data/embeddings'
#
# The shards that a task held when it was ended are taken over by the others; submit again to finish what is left.
#SBATCH --job-name=mobilesam
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@60

set -euo pipefail
input=$1
output=$2
export SLURM_PROCID=${SLURM_ARRAY_TASK_ID:-0} # the number of this worker: where in the list of shards it begins
exec mobilesam annotate "$input"/*.tar --output "$output" --workers "${SLURM_CPUS_PER_TASK:-4}" --threads 1
