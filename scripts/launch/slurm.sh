#!/bin/bash
# Train one experiment on several machines under Slurm; docs/scale.md says more.
#
#   sbatch scripts/launch/slurm.sh experiments/multi_modality.toml training.precision=bfloat16
#
# Everything after the file goes to `taskaware train`. Two minutes before the time limit the run writes
# a checkpoint and ends, and the job is queued again, which goes on from there. So it does when a
# machine fails. The checkout, its .venv and runs/ must be on a file system that all machines share.
#SBATCH --job-name=taskaware
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=taskaware-%j.log
set -u
if [ $# -eq 0 ]; then
    echo "usage: sbatch scripts/launch/slurm.sh FILE [FIELD=VALUE ...]" >&2
    exit 2
fi

nodes=${SLURM_JOB_NUM_NODES:-1}
gpus=${SLURM_GPUS_ON_NODE:-1}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# A store of its own for each start: processes that are started again must not read where those
# before them were (pytorch/pytorch#135712).
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=100  # seconds for the update under way and the checkpoint
export OMP_NUM_THREADS=1

# Slurm tells this script alone (B:) to end; srun passes it on to every machine's torchrun.
asked= training=
trap 'asked=yes; [ -z "$training" ] || kill -TERM "$training" 2> /dev/null' TERM

# --max-restarts is for what ends a process; where a machine is lost, the job ends and is queued again.
srun --kill-on-bad-exit=1 --export=ALL \
    .venv/bin/torchrun --nnodes "$nodes" --nproc-per-node "$gpus" --max-restarts 3 \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$head:29400" \
    -m taskaware train "$@" &
training=$!
[ -z "$asked" ] || kill -TERM "$training" 2> /dev/null  # told before it had a number
wait "$training"
code=$?
while kill -0 "$training" 2> /dev/null; do  # a signal ends `wait`, not the training
    wait "$training"
    code=$?
done

# torchrun ends with 1 whatever a process of its ended with. A run that was told to stop goes on in any
# case; one that failed by itself is tried again, but not for ever.
starts=$(( ${SLURM_RESTART_COUNT:-0} + 1 ))
if [ "$code" -ne 0 ] && { [ -n "$asked" ] || [ "$starts" -lt 10 ]; }; then
    echo "ended with exit code $code in start $starts: queued again"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
