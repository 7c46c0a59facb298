#!/bin/bash
# An array of tasks that share the runs of an experiment. Each takes whichever run no other is at, so how many tasks
# there are, and when they begin, decides only how fast it goes.
#
#   sbatch [--array=0-31] [--gpus-per-task=1] docs/slurm/array.sh EXPERIMENT RESULTS [OPTIONS]
#
# RESULTS is a folder that all nodes share; OPTIONS are those of `harness reproduce`.
#SBATCH --job-name=harness
#SBATCH --array=0-3
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=harness-%A_%a.log

experiment=${1:?which experiment?} results=${2:?which folder of results?}
shift 2

# the number of threads decides bits, so it is said here and not left to what each node has
if [[ ${CUDA_VISIBLE_DEVICES:-} ]]; then
    place=(--device cuda --threads 1)
else
    place=(--device cpu --threads 1 --workers "${SLURM_CPUS_PER_TASK:-1}")
fi

at_limit=''
near_the_limit() {
    interrupted=yes
    [[ $at_limit ]] || kill -TERM $! # once: a second one would end it without a checkpoint
    at_limit=yes
}
trap near_the_limit USR1
trap 'interrupted=yes' TERM # of scancel, which every process hears: not to be passed on, nor a reason to requeue

harness reproduce "$experiment" --results "$results" "${place[@]}" "$@" &
harness=$! interrupted=yes code=0
while [[ $interrupted || $code -lt 0 ]]; do # -1: what some bash says if the harness ends at the same moment
    interrupted=''
    wait "$harness" # a signal ends the wait, not the harness
    code=$?
done

if [[ $at_limit && $code -eq 143 ]]; then # 128 + TERM: runs remain
    scontrol requeue "${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}"
fi
exit "$code"
