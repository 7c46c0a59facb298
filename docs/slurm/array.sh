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

at_limit='' told='' code=143
trap 'at_limit=yes' USR1
trap : TERM # of scancel, which every process hears: not to be passed on, nor a reason to requeue

# waited for where no signal is heard: a `wait` that one interrupts may lose the code of who ends in that moment
exec {output}>&1 {said}< <(
    harness reproduce "$experiment" --results "$results" "${place[@]}" "$@" >&"$output" &
    trap '' TERM
    echo $!
    wait $!
    echo $?
)
read -r -u "$said" harness
until read -r -t 0.2 -u "$said" code || (($? < 128)); do # in turns: a signal just before `read` is heard after it
    [[ $at_limit && ! $told ]] && kill -TERM "$harness" && told=yes # once: a second one would end it without a checkpoint
done

if [[ $at_limit && $code -eq 143 ]]; then # 128 + TERM: runs remain
    scontrol requeue "${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}"
fi
exit "$code"
