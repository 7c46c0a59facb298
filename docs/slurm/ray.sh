#!/bin/bash
# The runs of an experiment on a Ray cluster of the job's nodes, which lives as long as the job. A run whose node is
# lost goes on from its checkpoint on another.
#
#   sbatch [--nodes=8] [--gpus-per-node=4] docs/slurm/ray.sh EXPERIMENT RESULTS [OPTIONS]
#
# RESULTS is a folder that all nodes share; OPTIONS are those of `harness reproduce`.
#SBATCH --job-name=harness-ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --no-kill
#SBATCH --open-mode=append
#SBATCH --output=harness-%j.log

experiment=${1:?which experiment?} results=${2:?which folder of results?}
shift 2

# whoever reaches an open Ray cluster can execute what they like: only those who have this may
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')

device=${SLURM_GPUS_ON_NODE:+cuda}
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
address=$(python -c 'import ray; print(ray.util.get_node_ip_address())'):$((20000 + SLURM_JOB_ID % 10000))

on_nodes() { # number of nodes, an option of srun that says which, and what Ray is told
    srun --nodes="$1" --ntasks="$1" "$2" --cpus-per-task="$SLURM_CPUS_PER_TASK" --no-kill \
        ray start --block --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" "${@:3}" &
    steps+=($!)
}
num_nodes_up() {
    ray status --address "$address" 2> /dev/null | sed -n '/^Active/,/^Pending/p' | grep --count ' node_'
}
wait_for_nodes() {
    until (($(num_nodes_up) >= $1)); do
        for step in "${steps[@]}"; do
            kill -0 "$step" || exit 1 # a part of the cluster has ended: srun says why
        done
        sleep 1
    done
}

steps=()
trap '[[ ${steps[*]} ]] && kill "${steps[@]}"; wait' EXIT
on_nodes 1 --nodelist="${nodes[0]}" --head --port="${address#*:}" --include-dashboard=false \
    --temp-dir="/tmp/ray-$SLURM_JOB_ID"
wait_for_nodes 1
((${#nodes[@]} > 1)) && on_nodes $((${#nodes[@]} - 1)) --exclude="${nodes[0]}" --address="$address"
wait_for_nodes ${#nodes[@]}

at_limit='' told='' code=143
trap 'at_limit=yes' USR1
trap : TERM # of scancel, which every process hears: not to be passed on, nor a reason to requeue

# waited for where no signal is heard: a `wait` that one interrupts may lose the code of who ends in that moment
exec {output}>&1 {said}< <(
    harness reproduce "$experiment" --results "$results" --executor ray --address "$address" \
        --device "${device:-cpu}" --threads 1 "$@" >&"$output" &
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
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
