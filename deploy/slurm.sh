#!/bin/bash
# A job in shards on a Slurm cluster: every task of the array has a worker for each of its cores, and all tasks share
# the output folder. The arguments are those of `mobilesam`:
#
#   sbatch --array=0-63 deploy/slurm.sh annotate '/data/shards/*.tar' --output /data/masks
#   sbatch --array=0-63 deploy/slurm.sh annotate val.json --output /data/masks --prompts detections.json
#
# WORKERS and THREADS of a task may be set, as for a teacher's embeddings, which take more memory:
#
#   WORKERS=1 THREADS=4 sbatch --array=0-63 --mem=32G deploy/slurm.sh distill embed recipe.toml --output /data/embeddings
#
# A minute before its time is over a task gives back what it has not finished; submit again to do the rest.
#SBATCH --job-name=mobilesam
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@60

set -euo pipefail
# B: above sends the signal to this shell alone, so the command takes the shell's place.
exec mobilesam "$@" --workers "${WORKERS:-${SLURM_CPUS_PER_TASK:-1}}" --threads "${THREADS:-1}"
